"""Stages come in their order, each with the weights of the one before."""

import pytest

from moesaic.errors import RecipeError
from moesaic.training.adaptation.stage_plan import AdaptationPlan, AdaptationStage, StageKind, standard_plan

FIELD = AdaptationStage(kind=StageKind.DAPT, name="field", corpus="notes", general_share=0.0)
TASK = AdaptationStage(kind=StageKind.TAPT, name="task", corpus="cases", general_share=0.2)


def test_the_standard_plan_in_numbers() -> None:
    plan = standard_plan(base="base", field="notes", task="cases", nearest="near", general="web", general_share=0.2)
    tokens = {"notes": 800_000, "cases": 10_000, "near": 20_000}
    first, second, third = plan.settings(tokens, pretraining_rate=3e-3, tokens_per_step=1000)
    assert [each.begins_with for each in (first, second, third)] == ["base", "dapt", "tapt"]
    assert [each.steps for each in (first, second, third)] == [1000, 50, 50]
    assert first.ratios == {"notes": 0.8, "web": 0.2}
    # The field is read once: its share of all tokens is its own size.
    assert first.steps * 1000 * first.ratios["notes"] == 800_000
    assert first.learning_rate == pytest.approx(6e-4)
    assert second.learning_rate == third.learning_rate == pytest.approx(3e-4)
    assert (first.warmup_steps, second.warmup_steps) == (10, 1)


def test_stages_without_text_are_left_out() -> None:
    plan = standard_plan(base="base", task="cases")
    assert [stage.kind for stage in plan.stages] == [StageKind.TAPT]
    (settings,) = plan.settings({"cases": 10}, pretraining_rate=1e-3, tokens_per_step=1000)
    assert (settings.steps, settings.ratios) == (1, {"cases": 1.0})
    with pytest.raises(RecipeError, match=r"the stages \[\] must be one at least"):
        standard_plan(base="base", general="web")


@pytest.mark.parametrize(
    ("stages", "general", "fault"),
    [
        ((TASK, FIELD), "web", "the order tapt, dapt is not dapt, tapt, knn-tapt"),
        ((FIELD, FIELD), "web", "each with a name of its own"),
        ((FIELD, TASK), " ", "task keep general text, and general_corpus is empty"),
        ((FIELD, TASK), "notes", "is a stage's own corpus"),
    ],
)
def test_plans_that_contradict_themselves_are_refused(
    stages: tuple[AdaptationStage, ...], general: str, fault: str
) -> None:
    with pytest.raises(RecipeError, match=fault):
        AdaptationPlan(base="base", stages=stages, general_corpus=general)


@pytest.mark.parametrize(
    "options",
    [
        {"passes": 0},
        {"passes": 101},
        {"rate_share": 0},
        {"rate_share": 1.5},
        {"warmup_share": 0.6},
        {"final_share": -0.1},
        {"general_share": 1.0},
        {"name": "a b"},
        {"name": ""},
        {"corpus": " "},
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, object]) -> None:
    given: dict[str, object] = {"kind": StageKind.DAPT, "name": "x", "corpus": "y"}
    with pytest.raises(RecipeError, match=next(iter(options))):
        AdaptationStage(**(given | options))  # type: ignore[arg-type]


def test_settings_need_to_know_the_sizes() -> None:
    plan = AdaptationPlan(base="base", stages=(FIELD,))
    with pytest.raises(RecipeError, match=r"nothing is said of the tokens of 'notes'; known are \['cases'\]"):
        list(plan.settings({"cases": 3}, pretraining_rate=1e-3, tokens_per_step=10))
    for numbers in ({"pretraining_rate": 0.0, "tokens_per_step": 10}, {"pretraining_rate": 0.1, "tokens_per_step": 0}):
        with pytest.raises(RecipeError, match="must be above 0"):
            list(plan.settings({"notes": 3}, **numbers))  # type: ignore[arg-type]
