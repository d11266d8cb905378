"""The guard lets the ordinary pass, skips spikes, rolls back when they go on, and gets used to a new level."""

import json
import math
import random

import pytest

from moesaic.errors import RecipeError
from moesaic.training.spike_guard import GuardConfig, SpikeGuard, Verdict


def steady(guard: SpikeGuard, steps: int, level: float = 1.0) -> list[Verdict]:
    chooser = random.Random(1)
    return [guard.judge(level * chooser.uniform(0.9, 1.1)) for _ in range(steps)]


def test_an_even_run_is_never_disturbed() -> None:
    guard = SpikeGuard(GuardConfig())
    assert set(steady(guard, 500)) == {Verdict.TAKE}


def test_a_single_spike_is_skipped_and_forgotten() -> None:
    guard = SpikeGuard(GuardConfig())
    steady(guard, 100)
    assert guard.judge(20.0) is Verdict.SKIP
    assert set(steady(guard, 20)) == {Verdict.TAKE}
    assert guard.judge(20.0) is Verdict.SKIP


def test_nothing_is_judged_while_it_warms_up_or_is_off() -> None:
    guard = SpikeGuard(GuardConfig(warmup_steps=10))
    assert [guard.judge(10.0**power) for power in range(5)] == [Verdict.TAKE] * 5
    off = SpikeGuard(GuardConfig(enabled=False))
    steady(off, 100)
    assert off.judge(1e9) is Verdict.TAKE


def test_spikes_in_a_row_roll_back() -> None:
    guard = SpikeGuard(GuardConfig(rollback_after=3))
    steady(guard, 100)
    assert [guard.judge(50.0) for _ in range(4)] == [Verdict.SKIP, Verdict.SKIP, Verdict.ROLL_BACK, Verdict.SKIP]


def test_a_norm_that_stays_up_becomes_the_ordinary() -> None:
    guard = SpikeGuard(GuardConfig(rollback_after=1000))
    steady(guard, 100)
    verdicts = steady(guard, 200, level=3.0)
    assert verdicts[0] is Verdict.SKIP
    assert set(verdicts[-100:]) == {Verdict.TAKE}


@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_what_is_not_finite_is_a_spike_even_while_warming_up(norm: float) -> None:
    guard = SpikeGuard(GuardConfig(not_finite="skip"))
    assert guard.judge(norm) is Verdict.SKIP
    steady(guard, 60)
    before = guard.limit
    assert guard.judge(norm) is Verdict.SKIP
    assert math.isfinite(guard.limit)
    assert guard.limit < 3 * before


def test_the_state_continues_exactly_through_json() -> None:
    guard, copy = SpikeGuard(GuardConfig()), SpikeGuard(GuardConfig())
    steady(guard, 77)
    guard.judge(30.0)
    copy.restore(json.loads(json.dumps(guard.state())))
    assert copy.limit == guard.limit
    norms = [random.Random(2).uniform(0.5, 9.0) for _ in range(50)]
    assert [copy.judge(norm) for norm in norms] == [guard.judge(norm) for norm in norms]


@pytest.mark.parametrize(
    "fields",
    [{"sigmas": 0.0}, {"decay": 1.0}, {"rollback_after": 0}, {"enabled": False, "not_finite": "skip"}],
)
def test_values_out_of_range_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(RecipeError):
        GuardConfig(**fields)  # type: ignore[arg-type]
