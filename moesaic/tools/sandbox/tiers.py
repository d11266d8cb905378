"""The tiers that fork: which there are, in which order they are tried, and what each is built from."""

from moesaic.tools.sandbox.config import SandboxConfig, Tier
from moesaic.tools.sandbox.interpreter import locate_interpreter
from moesaic.tools.sandbox.nursery import Nursery
from moesaic.tools.sandbox.syscalls import assembled_filter
from moesaic.tools.sandbox.zygote_process import ZygotePlan, ZygoteProcess

__all__ = ["FORKING_TIERS", "make_nursery", "make_plan"]

FORKING_TIERS = (Tier.NAMESPACES, Tier.SECCOMP)
"""Strongest first."""


def make_plan(tier: Tier, config: SandboxConfig, *, packages: bool) -> ZygotePlan:
    """What a zygote of this tier is to be.

    Raises:
        SandboxUnavailableError: this machine's system calls are not known.
    """
    return ZygotePlan(
        tier=tier,
        interpreter=locate_interpreter(packages=packages),
        filter=assembled_filter(files=tier is Tier.NAMESPACES),
        start_timeout_s=config.start_timeout_s,
        heartbeat_s=config.heartbeat_s,
    )


def make_nursery(tier: Tier, config: SandboxConfig, *, packages: bool) -> Nursery:
    """The children of this tier; nothing is started yet.

    Raises:
        SandboxUnavailableError: this machine's system calls are not known.
    """
    plan = make_plan(tier, config, packages=packages)
    return Nursery(lambda: ZygoteProcess(plan), tier, config)
