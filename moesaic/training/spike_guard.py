"""The spike guard: a step whose gradient is far out of the ordinary is skipped; several in a row roll the run back.

Large spikes of the gradient norm come before a loss that never recovers (PaLM, arXiv:2204.02311, section 5.1, restarted
from an earlier checkpoint and skipped the data; OPT, arXiv:2205.01068, section 2.5, as well).

How this differs from what they describe:

1. It needs nobody: the norm is compared with its own running mean and standard deviation, one-sided.
2. A single outlier is skipped before it changes the weights; only `rollback_after` of them in a row roll back.
3. What was skipped enters the running mean too, cut down to the limit (as ZClip does, arXiv:2504.02507, section 3), so
   that a norm that has risen for good is accepted again.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Literal

from moesaic.errors import RecipeError

__all__ = ["GuardConfig", "SpikeGuard", "Verdict"]


@dataclass(frozen=True, kw_only=True)
class GuardConfig:
    """The `[guard]` table of a recipe."""

    enabled: bool = True
    """Whether spikes are skipped; numbers that are not finite are never trained on."""
    sigmas: float = 6.0
    """A spike is this many standard deviations above the running mean of the gradient norm."""
    decay: float = 0.99
    """Decay of the running mean and variance per step, above 0 and below 1."""
    warmup_steps: int = 50
    """Steps before the guard judges anything; the norm falls steeply at first."""
    floor_share: float = 0.1
    """The standard deviation counts as at least this share of the mean, so that a very even run is not skittish."""
    rollback_after: int = 5
    """Skipped steps in a row after which the run goes back to its last checkpoint."""
    max_rollbacks: int = 3
    """Rollbacks after which the run gives up (`DivergedError`)."""
    not_finite: Literal["stop", "skip"] = "stop"
    """What a loss or gradient that is not finite does: end the run at once, or count as a spike."""

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        if not self.sigmas > 0 or not 0 < self.decay < 1 or self.floor_share < 0:
            raise RecipeError(
                f"sigmas={self.sigmas!r} must be above 0, decay={self.decay!r} above 0 and below 1, "
                f"floor_share={self.floor_share!r} at least 0"
            )
        for name, least in (("warmup_steps", 1), ("rollback_after", 1), ("max_rollbacks", 0)):
            if getattr(self, name) < least:
                raise RecipeError(f"{name}={getattr(self, name)!r} must be at least {least}")
        if self.not_finite == "skip" and not self.enabled:
            raise RecipeError("not_finite='skip' needs the guard: set enabled=true, or not_finite='stop'")


class Verdict(Enum):
    """What is to be done with a step."""

    TAKE = auto()
    """Train on it."""
    SKIP = auto()
    """Leave the weights as they are and go on with the next data."""
    ROLL_BACK = auto()
    """Go back to the last checkpoint, and on with the next data."""


class SpikeGuard:
    """Judges the gradient norm of every step, in order."""

    def __init__(self, config: GuardConfig) -> None:
        self.config = config
        self.rollbacks = 0
        """How often the run has been rolled back."""
        self._mean = 0.0
        self._variance = 0.0
        self._seen = 0
        self._in_a_row = 0

    @property
    def limit(self) -> float:
        """The norm above which a step is a spike; infinite while the guard is off or warming up."""
        if not self.config.enabled or self._seen < self.config.warmup_steps:
            return math.inf
        deviation = max(math.sqrt(self._variance), self.config.floor_share * self._mean)
        return self._mean + self.config.sigmas * deviation

    def judge(self, norm: float) -> Verdict:
        """The verdict on a step with this gradient norm; a norm that is not finite counts as a spike."""
        limit = self.limit
        spike = not math.isfinite(norm) or norm > limit
        seen = min(norm, limit) if not math.isnan(norm) else limit
        if math.isfinite(seen):
            self._note(seen)
        self._in_a_row = self._in_a_row + 1 if spike else 0
        if not spike:
            return Verdict.TAKE
        if self._in_a_row < self.config.rollback_after:
            return Verdict.SKIP
        self._in_a_row = 0
        return Verdict.ROLL_BACK

    def state(self) -> dict[str, Any]:
        """Everything that the next verdict depends on, as JSON values."""
        return {
            "mean": self._mean,
            "variance": self._variance,
            "seen": self._seen,
            "in_a_row": self._in_a_row,
            "rollbacks": self.rollbacks,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state` returned."""
        self._mean, self._variance = float(state["mean"]), float(state["variance"])
        self._seen, self._in_a_row = int(state["seen"]), int(state["in_a_row"])
        self.rollbacks = int(state["rollbacks"])

    def _note(self, norm: float) -> None:
        # The first steps weigh alike, so that the mean does not hang on the very first norm.
        share = max(1 - self.config.decay, 1 / (self._seen + 1))
        delta = norm - self._mean
        self._mean += share * delta
        self._variance = (1 - share) * (self._variance + share * delta * delta)
        self._seen += 1
