"""Which tiers hold on this machine, found out by attacking each from inside."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from moesaic.errors import MoesaicError
from moesaic.tools.sandbox.config import SandboxConfig, Tier
from moesaic.tools.sandbox.exchange import RunLimits

__all__ = ["ProbeReport", "TierReport", "probe"]


@dataclass(frozen=True, kw_only=True)
class TierReport:
    """What is known about one tier."""

    tier: Tier
    """Which one."""
    holds: bool
    """Whether its walls were laid and withstood the attack."""
    reason: str | None
    """Why it does not hold; None if it does."""
    landlock: int
    """Interface of the kernel's Landlock that is used besides, 0 for none."""
    missing: tuple[str, ...]
    """Modules of the standard library that this interpreter was built without."""


@dataclass(frozen=True, kw_only=True)
class ProbeReport:
    """What is known about all of them."""

    best: Tier | None
    """The one that a sandbox chooses by itself; None if none holds, and then nothing is run."""
    tiers: tuple[TierReport, ...]
    """Each of them, strongest first; monty, which is never chosen by itself, last."""

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return asdict(self)


def probe(config: SandboxConfig | None = None) -> ProbeReport:
    """Build each tier, attack it from inside, and take it down again; takes less than a second as a rule."""
    from moesaic.tools.sandbox.tiers import FORKING_TIERS

    config = replace(config or SandboxConfig(), spares=0, tier=None)
    forking = tuple(_forking_tier(tier, config) for tier in FORKING_TIERS)
    best = next((report.tier for report in forking if report.holds), None)
    return ProbeReport(best=best, tiers=(*forking, _monty(config)))


def _forking_tier(tier: Tier, config: SandboxConfig) -> TierReport:
    from moesaic.tools.sandbox.tiers import make_nursery

    try:
        nursery = make_nursery(tier, config, packages=False)
        try:
            facts = nursery.start().facts
        finally:
            nursery.close()
    except MoesaicError as error:
        return _failed(tier, error)
    return TierReport(
        tier=tier, holds=True, reason=None, landlock=facts["landlock"], missing=tuple(map(str, facts["missing"]))
    )


def _monty(config: SandboxConfig) -> TierReport:
    from moesaic.tools.sandbox.cancellation import Cancellation
    from moesaic.tools.sandbox.conversation import Job
    from moesaic.tools.sandbox.monty import MontyInterpreter

    limits = RunLimits(
        timeout_s=config.timeout_s,
        memory_bytes=config.memory_bytes,
        output_bytes=config.output_bytes,
        result_bytes=config.result_bytes,
    )
    try:
        interpreter = MontyInterpreter(config)
    except MoesaicError as error:
        return _failed(Tier.MONTY, error)
    try:
        done = interpreter.run([Job("answer = sum(range(4))", None)], limits, Cancellation())[0]
    finally:
        interpreter.close()
    reason = None if done.value == 6 else f"a program that computes gave {done.error or done.value!r}"
    return TierReport(tier=Tier.MONTY, holds=reason is None, reason=reason, landlock=0, missing=())


def _failed(tier: Tier, error: MoesaicError) -> TierReport:
    return TierReport(tier=tier, holds=False, reason=str(error), landlock=0, missing=())
