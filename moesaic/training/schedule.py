"""How the learning rate moves over a run: warm-up, then constant, cosine, or stable with a final decay (WSD).

The factor of a step depends on the step and the run's length alone, so that there is nothing to save or restore.
"""

import math
from dataclasses import dataclass
from typing import Literal

from moesaic.errors import RecipeError

__all__ = ["ScheduleConfig"]


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """The `[schedule]` table of a recipe.

    `wsd` (MiniCPM, arXiv:2404.06395, section 4) stays at the peak and decays in the last `decay_share` of the run;
    `cosine` falls from the end of the warm-up on; `constant` stays.
    """

    kind: Literal["wsd", "cosine", "constant"] = "wsd"
    """Shape of the curve."""
    warmup_steps: int | None = None
    """Steps from 0 to the peak; `warmup_share` of the run if not given."""
    warmup_share: float = 0.01
    """Share of the run that warms up, 0 to 1."""
    decay_share: float = 0.2
    """Share of the run, at its end, in which `wsd` decays; above 0."""
    decay_shape: Literal["sqrt", "linear"] = "sqrt"
    """How `wsd` decays: by 1 - sqrt(progress) (arXiv:2405.18392, section 4), or linearly."""
    final_share: float | None = None
    """Learning rate at the end, as a share of the peak; 0 for `wsd` and 0.1 for `cosine` if not given."""

    def __post_init__(self) -> None:
        """Refuse shares outside of 0 to 1, and phases that overlap."""
        for name in ("warmup_share", "decay_share", "final_share"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= 1.0:
                raise RecipeError(f"{name}={value!r} must lie between 0 and 1")
        if self.warmup_steps is not None and self.warmup_steps < 0:
            raise RecipeError(f"warmup_steps={self.warmup_steps!r} must be at least 0")
        if self.kind == "wsd" and self.decay_share == 0:
            raise RecipeError("decay_share=0 leaves nothing of a wsd schedule: set kind='constant', or a share above 0")
        if self.kind == "wsd" and self.warmup_steps is None and self.warmup_share + self.decay_share > 1:
            raise RecipeError(
                f"warmup_share={self.warmup_share!r} and decay_share={self.decay_share!r} overlap: "
                "their sum must be at most 1"
            )

    @property
    def final(self) -> float:
        """The final share, given or by kind."""
        if self.final_share is not None:
            return self.final_share
        return 0.1 if self.kind == "cosine" else 0.0

    def warmup(self, total_steps: int) -> int:
        """Steps of warm-up in a run of `total_steps`; `RecipeError` if they leave no room for the decay."""
        steps = round(self.warmup_share * total_steps) if self.warmup_steps is None else self.warmup_steps
        if steps > total_steps or (self.kind == "wsd" and steps + self._decay(total_steps) > total_steps):
            raise RecipeError(
                f"warmup_steps={steps} and the decay of {self._decay(total_steps)} steps do not fit into a run of "
                f"{total_steps} steps: shorten the warm-up, or lengthen the run"
            )
        return steps

    def factor(self, step: int, total_steps: int) -> float:
        """What the peak learning rate is multiplied by at optimizer step `step` (from 0)."""
        warmup = self.warmup(total_steps)
        if step < warmup:
            return (step + 1) / warmup
        if self.kind == "constant":
            return 1.0
        if self.kind == "cosine":
            progress = min(1.0, (step + 1 - warmup) / max(1, total_steps - warmup))
            return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress))
        decay = self._decay(total_steps)
        progress = min(1.0, max(0.0, (step + 1 - (total_steps - decay)) / decay))
        fallen = math.sqrt(progress) if self.decay_shape == "sqrt" else progress
        return 1.0 - (1.0 - self.final) * fallen

    def _decay(self, total_steps: int) -> int:
        return max(1, round(self.decay_share * total_steps)) if self.kind == "wsd" else 0
