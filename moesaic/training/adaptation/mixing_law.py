"""How much general text to keep: laws of loss against the mixing ratio, and the ratio under a budget for forgetting.

At a fixed size of model and number of tokens, the loss on a field falls with its share r of the training text, the loss
on general text falls with the share 1 - r of that, both as power laws (D-CPT Law, Que et al., arXiv:2406.01375, section
3, of which this is the slice at one size and one length):

    L(s) = floor + scale / (s + 0.01)^exponent            s the text's own share, 0 to 1

The 0.01 keeps the loss finite where a text has no share at all. A few short runs at different ratios give the points;
the law says what no run measured, between them. Beyond them it is not asked.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from moesaic.errors import CorpusError, RecipeError

__all__ = ["MixingChoice", "MixingLaw", "RatioPoint", "choose_ratio", "fit_law"]

_OFFSET = 0.01
_EXPONENTS = np.geomspace(0.02, 4.0, 240)
_RATIOS = 2001
_LEAST_POINTS = 3


class RatioPoint(NamedTuple):
    """What one run gave."""

    ratio: float
    """Share of the field in its training text, 0 to 1."""
    domain: float
    """Bits per byte on the field, afterwards."""
    general: float
    """Bits per byte on general text, afterwards."""


@dataclass(frozen=True, kw_only=True)
class MixingLaw:
    """Loss against a text's own share."""

    floor: float
    """Bits per byte that no share goes below."""
    scale: float
    """At least 0."""
    exponent: float
    error: float
    """Root mean square of what the points are off, in bits per byte; with as many points as unknowns it says little."""

    def at(self, share: float) -> float:
        """Bits per byte at a share of 0 to 1."""
        return self.floor + self.scale / (share + _OFFSET) ** self.exponent


@dataclass(frozen=True, kw_only=True)
class MixingChoice:
    """The ratio to train with."""

    ratio: float
    """Share of the field."""
    domain: float
    """Bits per byte on the field that the law expects."""
    general: float
    """Bits per byte on general text that the law expects."""
    limit: float
    """Bits per byte on general text that the budget allows."""
    bound_by_budget: bool
    """Whether a larger share would break the budget; otherwise it is the best ratio that was measured around."""
    domain_law: MixingLaw
    general_law: MixingLaw


def fit_law(shares: Sequence[float], losses: Sequence[float]) -> MixingLaw:
    """Fit a law by least squares: the exponent on a grid, floor and scale exactly for each.

    Raises:
        RecipeError: a share is outside of 0 to 1.
        CorpusError: there are fewer than three different shares, or a loss is not finite.
    """
    x_N, y_N = np.asarray(shares, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    if x_N.shape != y_N.shape or x_N.ndim != 1:
        raise RecipeError(f"{x_N.size} shares and {y_N.size} losses: give one loss for each share")
    if ((x_N < 0) | (x_N > 1)).any():
        raise RecipeError(f"the shares {x_N.tolist()} must be 0 to 1")
    if len(set(x_N.tolist())) < _LEAST_POINTS or not np.isfinite(y_N).all():
        raise CorpusError(
            f"a law needs {_LEAST_POINTS} different shares with finite losses, got the shares {x_N.tolist()} and "
            f"losses {y_N.tolist()}: run more ratios"
        )
    fits = [_fitted(x_N, y_N, float(exponent)) for exponent in _EXPONENTS]
    return min(fits, key=lambda law: law.error)


def choose_ratio(
    points: Sequence[RatioPoint], *, general_before: float, budget: float, caution: float = 1.0
) -> MixingChoice:
    """The ratio with the least expected loss on the field whose loss on general text stays within a budget.

    Args:
        points: what was measured; the choice lies between the smallest and the largest ratio.
        general_before: bits per byte on general text before training.
        budget: share by which that may rise; 0.01 for 1%.
        caution: how many times the fit's error is added to the expected general loss before it is compared.

    Raises:
        RecipeError: a number is out of its range, or no ratio that was measured around keeps to the budget.
        CorpusError: the points are too few for a law.
    """
    if not (0 < general_before < math.inf and 0 <= budget < 1 and caution >= 0):
        raise RecipeError(
            f"general_before={general_before!r} must be above 0, budget={budget!r} 0 to below 1, and "
            f"caution={caution!r} at least 0"
        )
    domain_law = fit_law([point.ratio for point in points], [point.domain for point in points])
    general_law = fit_law([1 - point.ratio for point in points], [point.general for point in points])
    limit = general_before * (1 + budget)
    low, high = min(point.ratio for point in points), max(point.ratio for point in points)
    ratios = np.linspace(low, high, _RATIOS).tolist()
    allowed = [ratio for ratio in ratios if general_law.at(1 - ratio) + caution * general_law.error <= limit]
    if not allowed:
        least = general_law.at(1 - low)
        raise RecipeError(
            f"no ratio from {low:g} to {high:g} keeps the general loss at {limit:.4f} bits per byte or below; "
            f"at {low:g} it is {least:.4f} ± {general_law.error:.4f}: train more gently (learning rate, "
            f"tokens), measure smaller ratios, or allow more than budget={budget:g}"
        )
    ratio = min(allowed, key=lambda candidate: (domain_law.at(candidate), candidate))
    return MixingChoice(
        ratio=ratio,
        domain=domain_law.at(ratio),
        general=general_law.at(1 - ratio),
        limit=limit,
        bound_by_budget=len(allowed) < len(ratios) and ratio == max(allowed),
        domain_law=domain_law,
        general_law=general_law,
    )


def _fitted(x_N: NDArray[np.float64], y_N: NDArray[np.float64], exponent: float) -> MixingLaw:
    """Least squares for one exponent, the scale at least 0."""
    power_N = (x_N + _OFFSET) ** -exponent
    spread_N = power_N - power_N.mean()
    scale = max(0.0, float(spread_N @ (y_N - y_N.mean()) / (spread_N @ spread_N)))
    floor = float(y_N.mean() - scale * power_N.mean())
    error = math.sqrt(float(np.square(floor + scale * power_N - y_N).mean()))
    return MixingLaw(floor=floor, scale=scale, exponent=exponent, error=error)
