"""Which walls programs would run behind on this machine, as the wire says it; attacked once in a process's life."""

import functools
from collections.abc import Mapping

from moesaic import v1
from moesaic.errors import SandboxUnavailableError
from moesaic.tools.sandbox import Sandbox, SandboxConfig, Tier

__all__ = ["sandbox_tier"]

_TIERS: Mapping[Tier, v1.SandboxTier] = {
    Tier.NAMESPACES: v1.SandboxTier.SANDBOX_TIER_NAMESPACES,
    Tier.SECCOMP: v1.SandboxTier.SANDBOX_TIER_SECCOMP,
}


@functools.cache
def sandbox_tier() -> v1.SandboxTier:
    """The strongest tier whose self-test holds, or that none does. Takes a fraction of a second the first time."""
    try:
        with Sandbox(SandboxConfig(spares=1)) as sandbox:
            return _TIERS[sandbox.tier]
    except SandboxUnavailableError:
        return v1.SandboxTier.SANDBOX_TIER_NONE
