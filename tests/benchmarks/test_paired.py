"""Ratios within rounds, and the interval around their median."""

import random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.paired import median_interval, ratios

POSITIVE = st.floats(min_value=0.01, max_value=1e4)


def test_ratios_are_taken_round_by_round() -> None:
    assert ratios([2.0, 30.0], [1.0, 60.0]) == [2.0, 0.5]


@pytest.mark.parametrize(("above", "below"), [([], []), ([1.0], [0.0]), ([-1.0, 1.0], [1.0, 1.0]), ([1.0, 2.0], [1.0])])
def test_ratios_of_nonsense_are_refused(above: list[float], below: list[float]) -> None:
    with pytest.raises(ValueError, match=r"ratios need|shorter"):
        ratios(above, below)


@given(st.lists(POSITIVE, min_size=1, max_size=9))
def test_the_interval_lies_among_the_samples_and_holds_their_median(samples: list[float]) -> None:
    low, middle, high = median_interval(samples)
    assert min(samples) <= low <= middle <= high <= max(samples)
    assert middle == median(samples)


@given(st.lists(POSITIVE, min_size=2, max_size=9), st.randoms(use_true_random=False))
def test_the_order_of_the_samples_does_not_matter(samples: list[float], shuffler: random.Random) -> None:
    shuffled = samples.copy()
    shuffler.shuffle(shuffled)
    assert median_interval(shuffled) == median_interval(samples)


def test_equal_samples_leave_no_doubt() -> None:
    assert median_interval([1.5] * 7) == (1.5, 1.5, 1.5)


def test_one_bad_round_of_seven_widens_the_interval_but_does_not_decide_it() -> None:
    low, middle, _ = median_interval([1.2, 1.21, 1.19, 1.2, 1.22, 1.18, 0.1])
    assert middle == 1.2
    assert 1.1 < low < 1.2


def test_less_confidence_is_a_narrower_interval() -> None:
    samples = [0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.3]
    wide, narrow = median_interval(samples), median_interval(samples, confidence=0.5)
    assert wide.low < narrow.low <= narrow.high < wide.high


def test_intervals_hold_the_true_median_about_as_often_as_they_say() -> None:
    generator = random.Random(3)
    held = 0
    for _ in range(60):
        low, _, high = median_interval([generator.gauss(1.0, 0.1) for _ in range(9)])
        held += low <= 1.0 <= high
    assert 52 <= held <= 60


@pytest.mark.parametrize(("samples", "confidence"), [([], 0.95), ([1.0], 0.0), ([1.0], 1.0)])
def test_intervals_of_nothing_are_refused(samples: list[float], confidence: float) -> None:
    with pytest.raises(ValueError, match="an interval needs"):
        median_interval(samples, confidence=confidence)
