"""Intervals over few seeds: Student's t as tables have it, and what is called a tie."""

import pytest

from benchmarks.training_statistics import paired, t_quantile


@pytest.mark.parametrize(
    ("probability", "freedom", "value"),
    [(0.975, 1, 12.706), (0.975, 4, 2.776), (0.975, 9, 2.262), (0.8, 4, 0.941), (0.975, 200, 1.972), (0.5, 3, 0.0)],
)
def test_quantiles_are_those_of_the_tables(probability: float, freedom: int, value: float) -> None:
    assert t_quantile(probability, freedom) == pytest.approx(value, abs=6e-4)


def test_an_interval_by_hand() -> None:
    found = paired([1.0, 2.0, 3.0])
    assert (found.mean, found.verdict) == (2.0, "tie")
    assert (found.low, found.high) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-3)
    assert found.detectable == pytest.approx((4.3027 + 1.0607) / 3**0.5, abs=1e-3)


def test_the_detectable_effect_shrinks_with_seeds_and_spread() -> None:
    few, many, steady = paired([-1, 1] * 2), paired([-1, 1] * 8), paired([-0.1, 0.1] * 2)
    assert few.detectable > many.detectable > steady.detectable > 0


def test_verdicts() -> None:
    assert paired([-0.2, -0.21, -0.19]).verdict == "better"
    assert paired([0.2, 0.21, 0.19]).verdict == "worse"
    assert paired([0.0, 0.0]).verdict == "tie"


def test_what_has_no_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="two differences"):
        paired([1.0])
    for probability, freedom in ((0.4, 3), (1.0, 3), (0.9, 0)):
        with pytest.raises(ValueError, match=r"must be 0\.5"):
            t_quantile(probability, freedom)
