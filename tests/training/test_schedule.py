"""The learning rate warms up, stays or falls, and ends where it should."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.errors import RecipeError
from moesaic.training.schedule import ScheduleConfig


def curve(config: ScheduleConfig, steps: int) -> list[float]:
    return [config.factor(step, steps) for step in range(steps)]


def test_wsd_warms_up_stays_and_decays() -> None:
    found = curve(ScheduleConfig(kind="wsd", warmup_steps=4, decay_share=0.4, decay_shape="linear"), 10)
    assert found == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0])


def test_wsd_decays_by_one_minus_the_root() -> None:
    found = curve(ScheduleConfig(kind="wsd", warmup_steps=0, decay_share=0.4), 10)
    assert found[5:] == pytest.approx([1.0, 0.5, 1 - 0.5**0.5, 1 - 0.75**0.5, 0.0])


def test_cosine_halves_in_the_middle_and_ends_at_a_tenth() -> None:
    found = curve(ScheduleConfig(kind="cosine", warmup_steps=2), 10)
    assert found[:2] == [0.5, 1.0]
    assert found[5] == pytest.approx(0.1 + 0.9 * 0.5)
    assert found[-1] == pytest.approx(0.1)


@given(st.sampled_from(["wsd", "cosine", "constant"]), st.integers(1, 300), st.floats(0, 0.4), st.floats(0.01, 0.5))
def test_no_factor_leaves_zero_to_one_and_none_rises_after_the_warm_up(
    kind: str, steps: int, warmup: float, decay: float
) -> None:
    config = ScheduleConfig(kind=kind, warmup_share=warmup, decay_share=decay)  # type: ignore[arg-type]
    try:
        begin = config.warmup(steps)
    except RecipeError:  # rounding a share of a few steps
        assert steps < 10
        return
    found = curve(config, steps)
    assert all(0 <= factor <= 1 for factor in found)
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(found[begin:]))
    assert all(later > earlier for earlier, later in pairwise(found[:begin]))


@pytest.mark.parametrize(
    "fields",
    [
        {"warmup_share": 1.5},
        {"decay_share": 0.0},
        {"final_share": -0.1},
        {"warmup_steps": -1},
        {"warmup_share": 0.9, "decay_share": 0.2},
    ],
)
def test_shares_out_of_range_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(RecipeError):
        ScheduleConfig(**fields)  # type: ignore[arg-type]


def test_a_warm_up_longer_than_the_run_is_refused() -> None:
    with pytest.raises(RecipeError, match="warmup_steps=9"):
        ScheduleConfig(warmup_steps=9).factor(0, 10)
