"""Comparing two things that were measured in the same rounds: ratios, and how far their median can be trusted.

The machine's speed drifts by more than the differences that matter here (other work, clock, temperature). Both sides of
a ratio stem from the same few seconds, so that the drift cancels.
"""

import random
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

__all__ = ["Interval", "median_interval", "ratios"]

_RESAMPLES = 2_000


class Interval(NamedTuple):
    """A median and the interval around it."""

    low: float
    median: float
    high: float


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Numerator by denominator, round by round; ValueError unless there are as many of both, all above 0."""
    if not numerators or min(*numerators, *denominators) <= 0:
        raise ValueError(f"ratios need values above 0 from every round, got {numerators!r} and {denominators!r}")

    return [above / below for above, below in zip(numerators, denominators, strict=True)]


def median_interval(samples: Sequence[float], *, confidence: float = 0.95, seed: int = 0) -> Interval:
    """The samples' median and its percentile bootstrap interval (Efron 1979); the same samples give the same interval.

    Args:
        samples: one or more values.
        confidence: share of intervals that would hold the true median, above 0 and below 1.
        seed: seed of the resampling.

    Raises:
        ValueError: no samples, or a confidence outside of its range.
    """
    if not samples or not 0 < confidence < 1:
        raise ValueError(f"an interval needs samples and 0 < confidence < 1, got {len(samples)} and {confidence}")

    generator = random.Random(seed)
    ordered = sorted(samples)  # the order in which they were taken must not matter
    medians = sorted(median(generator.choices(ordered, k=len(ordered))) for _ in range(_RESAMPLES))
    tail = round((1 - confidence) / 2 * (_RESAMPLES - 1))
    return Interval(low=medians[tail], median=median(samples), high=medians[-1 - tail])
