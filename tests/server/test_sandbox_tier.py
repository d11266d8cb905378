"""GetServerInfo tells which walls programs would run behind, as an attack on this machine found."""

import pytest

from moesaic import v1
from moesaic.errors import SandboxUnavailableError
from moesaic.server.sandbox_tier import sandbox_tier
from moesaic.tools.sandbox import Sandbox, Tier


def test_it_is_the_tier_of_a_sandbox_that_starts_here() -> None:
    with Sandbox() as sandbox:
        tier = sandbox.tier
    sandbox_tier.cache_clear()
    assert sandbox_tier() == v1.SandboxTier.Value(f"SANDBOX_TIER_{tier.value.upper()}")
    assert tier in (Tier.NAMESPACES, Tier.SECCOMP)


def test_where_no_walls_hold_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Sandbox) -> Sandbox:
        raise SandboxUnavailableError("neither tier holds")

    monkeypatch.setattr(Sandbox, "start", refuse)
    monkeypatch.setattr(Sandbox, "tier", property(refuse))
    sandbox_tier.cache_clear()
    try:
        assert sandbox_tier() == v1.SandboxTier.SANDBOX_TIER_NONE
    finally:
        sandbox_tier.cache_clear()
