"""Laws of mixing are recovered from their own points, and the ratio they choose keeps to the budget."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.errors import CorpusError, RecipeError
from moesaic.training.adaptation.mixing_law import MixingLaw, RatioPoint, choose_ratio, fit_law

RATIOS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8)


def law(floor: float, scale: float, exponent: float) -> MixingLaw:
    return MixingLaw(floor=floor, scale=scale, exponent=exponent, error=0.0)


DOMAIN, GENERAL = law(0.8, 0.15, 0.5), law(0.9, 0.02, 0.7)
POINTS = [RatioPoint(ratio, DOMAIN.at(ratio), GENERAL.at(1 - ratio)) for ratio in RATIOS]


@given(floor=st.floats(0.3, 3), scale=st.floats(0.01, 1), exponent=st.floats(0.1, 2))
def test_a_law_is_recovered_between_its_points(floor: float, scale: float, exponent: float) -> None:
    true = law(floor, scale, exponent)
    found = fit_law(RATIOS, [true.at(share) for share in RATIOS])
    span = true.at(RATIOS[0]) - true.at(RATIOS[-1])
    for share in (0.07, 0.15, 0.4, 0.7):
        assert abs(found.at(share) - true.at(share)) < 0.01 * span + 1e-9
    assert found.error < 0.01 * span + 1e-9


def test_noise_shows_as_error() -> None:
    noise = (0.01, -0.01, 0.01, -0.01, 0.01, -0.01)
    found = fit_law(RATIOS, [DOMAIN.at(share) + off for share, off in zip(RATIOS, noise, strict=True)])
    assert 0.004 < found.error <= 0.01


def test_a_loss_that_does_not_fall_has_a_flat_law() -> None:
    found = fit_law(RATIOS, [1.0 + share for share in RATIOS])
    assert found.scale == 0
    assert found.at(0.1) == found.at(0.9) == pytest.approx(1.0 + sum(RATIOS) / len(RATIOS))


def test_the_budget_is_used_and_kept() -> None:
    before = GENERAL.at(1.0)
    choices = [choose_ratio(POINTS, general_before=before, budget=budget) for budget in (0.003, 0.01, 0.02, 0.2)]
    ratios = [choice.ratio for choice in choices]
    assert ratios == sorted(ratios)
    assert [choice.bound_by_budget for choice in choices] == [True, True, True, False]
    assert ratios[-1] == max(RATIOS)
    for choice, budget in zip(choices, (0.003, 0.01, 0.02, 0.2), strict=True):
        assert GENERAL.at(1 - choice.ratio) <= choice.limit + 1e-4
        assert choice.limit == pytest.approx(before * (1 + budget))
        assert choice.domain == pytest.approx(DOMAIN.at(choice.ratio), abs=1e-3)
    # The true ratio at which the budget of 1% is spent.
    exact = 1 - ((0.02 / (before * 1.01 - 0.9)) ** (1 / 0.7) - 0.01)
    assert ratios[1] == pytest.approx(exact, abs=0.02)


def test_caution_keeps_away_from_the_limit() -> None:
    off = [point._replace(general=point.general + (-1) ** place * 0.001) for place, point in enumerate(POINTS)]
    bold, careful = (
        choose_ratio(off, general_before=GENERAL.at(1.0), budget=0.01, caution=caution) for caution in (0.0, 2.0)
    )
    assert careful.ratio < bold.ratio
    assert careful.general < bold.general


def test_what_does_not_help_is_not_chosen() -> None:
    """Where more of the field does not lower its loss, the smallest share does as well."""
    flat = [point._replace(domain=1.0) for point in POINTS]
    choice = choose_ratio(flat, general_before=GENERAL.at(1.0), budget=0.2)
    assert choice.ratio == min(RATIOS)
    assert not choice.bound_by_budget


def test_a_budget_that_nothing_keeps_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"no ratio from 0\.05 to 0\.8 keeps the general loss at 0\.8000"):
        choose_ratio(POINTS, general_before=0.8, budget=0.0)


@pytest.mark.parametrize(
    ("shares", "losses", "kind", "fault"),
    [
        ([0.1, 0.2], [1, 2], CorpusError, "needs 3 different shares"),
        ([0.1, 0.1, 0.2], [1, 1, 2], CorpusError, "needs 3 different shares"),
        ([0.1, 0.2, 0.3], [1, math.nan, 2], CorpusError, "finite losses"),
        ([0.1, 0.2, 1.3], [1, 1, 2], RecipeError, "must be 0 to 1"),
        ([0.1, 0.2, 0.3], [1, 2], RecipeError, "one loss for each share"),
    ],
)
def test_points_that_make_no_law_are_refused(
    shares: list[float], losses: list[float], kind: type[Exception], fault: str
) -> None:
    with pytest.raises(kind, match=fault):
        fit_law(shares, losses)


@pytest.mark.parametrize("options", [{"general_before": 0}, {"budget": -0.1}, {"budget": 1}, {"caution": -1}])
def test_impossible_budgets_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match="must be above 0"):
        choose_ratio(POINTS, **({"general_before": 1.0, "budget": 0.01} | options))
