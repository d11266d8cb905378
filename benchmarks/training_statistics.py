"""Differences within seeds: their mean, its interval, and what so few seeds could have shown at all.

Student's t is computed here from its density: nothing else of statistics is needed, and no library for it is.
"""

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

__all__ = ["Paired", "paired", "t_quantile"]

_INTERVALS = 400
_POWER = 0.8


class Paired(NamedTuple):
    """What differences within pairs amount to; below 0 the first is better where less is better."""

    differences: tuple[float, ...]
    mean: float
    low: float
    high: float
    detectable: float
    """The smallest true difference that such a test finds with a probability of 80%."""

    @property
    def verdict(self) -> str:
        """`better`, `worse`, or `tie` if the interval holds 0."""
        if self.low <= 0 <= self.high:
            return "tie"
        return "better" if self.mean < 0 else "worse"


def paired(differences: Sequence[float], confidence: float = 0.95) -> Paired:
    """Mean and interval of two or more differences; ValueError for fewer."""
    if len(differences) < 2:
        raise ValueError(f"an interval needs two differences at least, got {len(differences)}")

    freedom = len(differences) - 1
    mean, error = fmean(differences), stdev(differences) / math.sqrt(len(differences))
    critical = t_quantile(0.5 + confidence / 2, freedom)
    return Paired(
        differences=tuple(differences),
        mean=mean,
        low=mean - critical * error,
        high=mean + critical * error,
        detectable=(critical + t_quantile(_POWER, freedom)) * error,
    )


def t_quantile(probability: float, freedom: int) -> float:
    """Value that Student's t lies below with a probability of 0.5 to below 1; ValueError outside of it."""
    if not 0.5 <= probability < 1 or freedom < 1:
        raise ValueError(f"probability={probability!r} must be 0.5 to below 1, freedom={freedom!r} at least 1")

    low, high = 0.0, 1.0
    while _below(high, freedom) < probability:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _below(middle, freedom) < probability else (low, middle)
    return (low + high) / 2


def _below(value: float, freedom: int) -> float:
    """Probability that t lies below a value of at least 0: Simpson's rule over t = sqrt(freedom) tan(angle)."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    end = math.atan(value / math.sqrt(freedom))
    step = end / _INTERVALS
    total = sum(
        (1 if place in (0, _INTERVALS) else 4 if place % 2 else 2) * math.cos(place * step) ** (freedom - 1)
        for place in range(_INTERVALS + 1)
    )
    return 0.5 + scale * total * step / 3
