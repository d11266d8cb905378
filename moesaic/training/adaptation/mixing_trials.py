"""Short runs of a plan's first stage at different shares of its own text, and the share that they speak for.

What the law of a mixture needs (`moesaic.training.adaptation.mixing_law`) is measured on what the data's preparation
held out: bits per byte on the stage's corpus and on general text, and on general text of the base before any training.
The points are kept in `mixing.json`: the same plan does not measure twice.
"""

import shutil
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Protocol

from moesaic.training.adaptation.kept_result import kept_result
from moesaic.training.adaptation.mixing_law import MixingChoice, RatioPoint, choose_ratio
from moesaic.training.adaptation.plan_recipe import MixingConfig, PlanRecipe
from moesaic.training.adaptation.stage_plan import StageSettings
from moesaic.training.data.prepared import PreparedData
from moesaic.training.evaluation import HeldOut
from moesaic.training.model_runner import ModelRunner
from moesaic.training.model_source import starting_model
from moesaic.training.pretraining import pretrain
from moesaic.training.processes import Processes
from moesaic.training.recipe import Recipe
from moesaic.training.run_folder import RunFolder
from moesaic.training.run_options import OutputConfig

__all__ = ["Watch", "choose_by_trials"]

_RECORD = "mixing.json"


class Watch(Protocol):
    """Gives listeners for the metrics and the progress of a run, which is named with its number of steps."""

    def __call__(self, name: str, steps: int, /) -> AbstractContextManager[Any]:
        """Listeners for the block: one for lines of the metrics, one for progress (stage, done, total)."""
        ...


def choose_by_trials(
    recipe: PlanRecipe, mixing: MixingConfig, settings: StageSettings, data: PreparedData, watch: Watch
) -> MixingChoice:
    """Train shortly at each ratio, and choose.

    Args:
        recipe: the plan.
        mixing: which ratios, and the budget.
        settings: the first stage in numbers; its steps are replaced by those of a trial.
        data: prepared data of the stage, with general text.
        watch: for each run.

    Raises:
        CorpusError: nothing is held out of a corpus.
        RecipeError: no ratio keeps to the budget.
        What `pretrain` raises.
    """
    general, own = recipe.config.general, settings.stage.corpus
    trials = {ratio: _trial(recipe, settings, ratio, mixing.steps) for ratio in mixing.ratios}
    made_of = {"trials": [trial.to_json() for trial in trials.values()], "data": data.digest}

    def measure() -> dict[str, Any]:
        before = _base_loss(next(iter(trials.values())), data, general)
        points = []
        for ratio, trial in trials.items():
            with watch(f"mixture with {ratio:g} of {own}", mixing.steps) as (report, progress):
                figures = pretrain(trial, report=report, progress=progress).figures
            points.append([ratio, figures[f"{own}.bits_per_byte"], figures[f"{general}.bits_per_byte"]])
        return {"general_before": before, "points": points}

    found = kept_result(recipe.config.folder / _RECORD, made_of, measure)
    for trial in trials.values():  # metrics and plots stay; nothing begins with a trial's weights
        shutil.rmtree(RunFolder(trial.run.folder).checkpoints, ignore_errors=True)
    return choose_ratio(
        [RatioPoint(*point) for point in found["points"]],
        general_before=found["general_before"],
        budget=mixing.budget,
        caution=mixing.caution,
    )


def _trial(recipe: PlanRecipe, settings: StageSettings, ratio: float, steps: int) -> Recipe:
    """The stage's recipe at another ratio, short and without an artifact."""
    ratios = {settings.stage.corpus: ratio, recipe.config.general: 1 - ratio}
    warmup = min(steps, -(-steps * settings.warmup_steps // settings.steps))
    short = replace(settings, ratios=ratios, steps=steps, warmup_steps=warmup)
    made = recipe.stage_recipe(short, base=None)
    folder = recipe.config.folder / "mixing" / f"{ratio:g}-{steps}"
    return replace(made, run=replace(made.run, folder=folder), output=OutputConfig())


def _base_loss(trial: Recipe, data: PreparedData, general: str) -> float:
    """Bits per byte of the base on general text, before any training."""
    held_out = HeldOut.of_shards(data.held_out_reader(general), trial.batch.sequence_length)
    runner = ModelRunner(starting_model(trial.model).model, Processes(), trial.precision, trial.distributed)
    return held_out.loss(runner, trial.evaluation.rows).bits_per_byte
