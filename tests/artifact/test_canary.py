"""Canaries: layout, the mean |Δ|, and what lets a model pass."""

import math
import statistics
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.artifact import Canary
from moesaic.errors import CanaryError, InputError
from tests.artifact.builders import CANARY

logprobs = st.floats(-50, 0)


@st.composite
def canaries(draw: st.DrawFn) -> tuple[Canary, list[list[float]]]:
    """A canary and observed values in its layout."""
    lengths = draw(st.lists(st.integers(2, 5), min_size=1, max_size=4))
    canary = Canary(
        sequences=tuple(tuple(draw(st.lists(st.integers(0, 99), min_size=n, max_size=n))) for n in lengths),
        logprobs=tuple(tuple(draw(st.lists(logprobs, min_size=n - 1, max_size=n - 1))) for n in lengths),
        threshold=draw(st.floats(1e-6, 10)),
        computed_with="test",
    )
    observed = [draw(st.lists(logprobs, min_size=n - 1, max_size=n - 1)) for n in lengths]
    return canary, observed


@given(canaries())
def test_the_difference_is_the_mean_over_all_positions(pair: tuple[Canary, list[list[float]]]) -> None:
    canary, observed = pair
    promised = [value for row in canary.logprobs for value in row]
    seen = [value for row in observed for value in row]
    deltas = [abs(a - b) for a, b in zip(promised, seen, strict=True)]
    assert canary.difference(observed) == pytest.approx(statistics.fmean(deltas))
    assert canary.difference(canary.logprobs) == 0


@given(canaries(), st.floats(-5, 5))
def test_a_common_shift_is_the_difference(pair: tuple[Canary, list[list[float]]], shift: float) -> None:
    canary, _ = pair
    shifted = [[value + shift for value in row] for row in canary.logprobs]
    assert canary.difference(shifted) == pytest.approx(abs(shift), abs=1e-12)


@given(canaries(), st.sampled_from([math.nan, math.inf, -math.inf]), st.data())
def test_one_value_that_is_not_finite_fails(
    pair: tuple[Canary, list[list[float]]], strange: float, data: st.DataObject
) -> None:
    canary, observed = pair
    row = data.draw(st.integers(0, len(observed) - 1))
    observed[row][data.draw(st.integers(0, len(observed[row]) - 1))] = strange
    assert canary.difference(observed) == math.inf
    with pytest.raises(CanaryError) as caught:
        canary.check(observed)

    assert caught.value.difference == math.inf


@given(canaries())
def test_check_accepts_exactly_up_to_the_threshold(pair: tuple[Canary, list[list[float]]]) -> None:
    canary, observed = pair
    difference = canary.difference(observed)
    if difference > 0:
        assert replace(canary, threshold=difference).check(observed) == difference
        with pytest.raises(CanaryError) as caught:
            replace(canary, threshold=math.nextafter(difference, 0)).check(observed)

        assert caught.value.difference == difference
        assert caught.value.threshold < difference


def test_absurd_values_do_not_overflow() -> None:
    assert CANARY.difference([[1e308, 1e308], [1e308]]) == math.inf
    assert CANARY.difference([[1.7e308, -1.0], [-1.7e308]]) > 1e307


@pytest.mark.parametrize(
    "observed", [[], [[-1.0, -2.0]], [[-1.0], [-3.0]], [[-3.0], [-1.0, -2.0]], [[-1, -2], [-3, -4]]]
)
def test_another_layout_is_refused(observed: list[list[float]]) -> None:
    with pytest.raises(InputError, match=r"must have \[2, 1\] values"):
        CANARY.difference(observed)


@pytest.mark.parametrize(
    "changes",
    [
        {"sequences": (), "logprobs": ()},
        {"sequences": ((1,), (2, 3)), "logprobs": ((), (-1.0,))},
        {"sequences": ((), (2, 3)), "logprobs": ((), (-1.0,))},
        {"sequences": ((-1, 2, 3), (4, 5))},
        {"logprobs": ((-1.0, -2.0), ())},
        {"logprobs": ((-1.0, math.nan), (-3.0,))},
        {"threshold": 0.0},
        {"threshold": -1.0},
        {"threshold": math.inf},
    ],
)
def test_an_unsound_canary_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        replace(CANARY, **changes)
