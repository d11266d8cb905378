"""Canaries: layout, the mean |Δ|, expert probes, and what lets a model pass."""

import math
import statistics
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.artifact import Canary, ExpertProbe
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
    if math.nextafter(difference, 0) > 0:  # the smallest number of all has none below it but zero
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


PROBE = ExpertProbe(layer=3, seed=1, tokens=(4, 9), outputs=((3.0, 4.0), (0.0, 2.0)), threshold=0.1)
SECOND = replace(PROBE, layer=5, threshold=0.2)
PROBED = replace(CANARY, probes=(PROBE, SECOND))


@given(st.lists(st.floats(-100, 100), min_size=4, max_size=4))
def test_the_error_of_a_probe_is_that_of_its_worst_token(shift: list[float]) -> None:
    observed = [[3 + shift[0], 4 + shift[1]], [shift[2], 2 + shift[3]]]
    expected = max(math.hypot(*shift[:2]) / 5, math.hypot(*shift[2:]) / 2)
    assert PROBE.error(observed) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert PROBE.error(PROBE.outputs) == 0


@pytest.mark.parametrize("strange", [math.nan, math.inf, -math.inf])
def test_a_probe_fails_by_one_value_that_is_not_finite(strange: float) -> None:
    with pytest.raises(CanaryError, match="in layer 5 ") as caught:
        PROBED.check_probes([PROBE.outputs, [[3, 4], [0, strange]]])

    assert caught.value.difference == math.inf


def test_silence_where_silence_was_promised_passes() -> None:
    silent = replace(PROBE, outputs=((0.0, 0.0), (1.0, 1.0)))
    assert silent.error(silent.outputs) == 0
    assert silent.error([[0.0, 1e-9], [1.0, 1.0]]) == math.inf


def test_each_probe_has_its_own_threshold() -> None:
    off = [[3.75, 4.0], [0.0, 2.0]]  # 0.15
    assert PROBED.check_probes([PROBE.outputs, off]) == pytest.approx(0.15)
    with pytest.raises(CanaryError, match=r"in layer 3 is off by 0\.15 \(relative\)") as caught:
        PROBED.check_probes([off, off])

    assert caught.value.difference == pytest.approx(0.15)
    assert caught.value.threshold == 0.1


def test_the_worst_layer_is_named_and_all_that_fail_are_listed() -> None:
    with pytest.raises(CanaryError, match=r"in layer 5 is off by .*layers that fail: 3, 5\."):
        PROBED.check_probes([[[3.0, 4.0], [0.0, 2.3]], [[-3.0, -4.0], [0.0, 2.0]]])


def test_a_canary_without_probes_has_nothing_to_check() -> None:
    assert CANARY.check_probes([]) == 0


@pytest.mark.parametrize("observed", [[], [PROBE.outputs], [PROBE.outputs, [[1, 2]]], [PROBE.outputs, [[1, 2], [3]]]])
def test_another_layout_of_probes_is_refused(observed: list[Any]) -> None:
    with pytest.raises(InputError, match="probe"):
        PROBED.check_probes(observed)


def test_probes_survive_json() -> None:
    assert Canary.from_json(PROBED.to_json()) == PROBED


@pytest.mark.parametrize(
    "changes",
    [
        {"layer": -1},
        {"seed": -1},
        {"tokens": (), "outputs": ()},
        {"tokens": (4, 4)},
        {"tokens": (-1, 4)},
        {"tokens": (4,)},
        {"outputs": ((1.0, 2.0), (3.0,))},
        {"outputs": ((), ())},
        {"outputs": ((1.0, math.inf), (3.0, 4.0))},
        {"threshold": 0.0},
        {"threshold": math.nan},
    ],
)
def test_an_unsound_probe_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        replace(PROBE, **changes)


def test_a_layer_is_probed_once() -> None:
    with pytest.raises(InputError, match="each layer once"):
        replace(CANARY, probes=(PROBE, PROBE))
