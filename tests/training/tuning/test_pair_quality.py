"""Figures of classifiers against their definitions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.errors import CorpusError
from moesaic.training.tuning.pair_quality import chances_of, fit_calibration, pair_quality

SCORED = st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=30).filter(
    lambda pairs: len({label for _, label in pairs}) == 2
)


@given(pairs=SCORED)
def test_against_the_definitions(pairs: list[tuple[int, bool]]) -> None:
    log_odds = np.array([value for value, _ in pairs], dtype=np.float64)
    labels = [label for _, label in pairs]
    found = pair_quality(log_odds, labels)
    wins = [
        1.0 if up > down else 0.5 if up == down else 0.0
        for up, is_up in pairs
        if is_up
        for down, is_down in pairs
        if not is_down
    ]
    assert found.auc == pytest.approx(sum(wins) / len(wins))
    assert found.accuracy == pytest.approx(sum((value > 0) == label for value, label in pairs) / len(pairs))
    chances = [1 / (1 + math.exp(-value)) for value, _ in pairs]
    losses = [-math.log(p if label else 1 - p) for p, label in zip(chances, labels, strict=True)]
    assert found.log_loss == pytest.approx(sum(losses) / len(losses))
    assert found.positive_share == pytest.approx(sum(labels) / len(labels))
    assert 0 <= found.calibration_error <= 1


def test_calibration_error() -> None:
    """Four pairs said to be 0.88 of which half are so, and four said to be 0.12 of which half are."""
    found = pair_quality(np.array([2.0] * 4 + [-2.0] * 4), [True, True, False, False] * 2)
    assert found.calibration_error == pytest.approx(float(chances_of(np.array([2.0]))[0]) - 0.5)
    assert found.auc == 0.5


def test_the_line_is_found() -> None:
    """Labels drawn from a line through log-odds are best described by that line."""
    random = np.random.default_rng(0)
    log_odds = random.normal(0, 3, 40_000)
    labels = random.random(40_000) < chances_of(0.4 * log_odds - 1)
    line = fit_calibration(log_odds, labels.tolist())
    assert line.slope == pytest.approx(0.4, abs=0.02)
    assert line.shift == pytest.approx(-1, abs=0.05)
    before = pair_quality(log_odds, labels.tolist())
    after = pair_quality(line.slope * log_odds + line.shift, labels.tolist())
    assert after.log_loss < before.log_loss - 0.05
    assert after.calibration_error < 0.02 < before.calibration_error
    assert after.auc == pytest.approx(before.auc)


def test_a_perfect_classifier_keeps_finite_odds() -> None:
    line = fit_calibration(np.array([-1.0, -0.5, 0.5, 1.0]), [False, False, True, True])
    assert 1 < line.slope < 100
    assert abs(line.shift) < 1e-6


def test_large_odds_do_no_harm() -> None:
    found = pair_quality(np.array([-1e4, 1e4, 1e4]), [False, True, False])
    assert found.log_loss == pytest.approx(1e4 / 3)
    assert chances_of(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("labels", [[True, True], [False, False]])
def test_pairs_of_one_kind_tell_nothing(labels: list[bool]) -> None:
    for measure in (pair_quality, fit_calibration):
        with pytest.raises(CorpusError, match="all 2 pairs are of one kind"):
            measure(np.zeros(2), labels)
