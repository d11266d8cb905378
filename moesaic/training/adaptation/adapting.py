"""Carrying out a plan of adaptation: each stage is an ordinary run that begins with the artifact of the one before.

    adapted = adapt(load_plan_recipe(Path("recipes/adaptation.toml")))

Interrupted at any point, the same call goes on: stages whose artifact is there are passed over, the one that was
interrupted goes on exactly where it stopped (`moesaic.training.pretraining`), and so do the short runs that look for a
mixture.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from moesaic.artifact import MANIFEST_NAME, ModelArtifact
from moesaic.errors import RecipeError
from moesaic.model.tokenizer_files import write_tokenizer_files
from moesaic.retrieval import load_embedder
from moesaic.training.adaptation.kept_result import kept_result
from moesaic.training.adaptation.mixing_law import MixingChoice
from moesaic.training.adaptation.mixing_trials import Watch, choose_by_trials
from moesaic.training.adaptation.nearest_selection import nearest_sentences
from moesaic.training.adaptation.plan_recipe import NEAREST, MixingConfig, NearestConfig, PlanRecipe
from moesaic.training.adaptation.stage_plan import AdaptationStage, StageSettings
from moesaic.training.data.data_config import DataConfig
from moesaic.training.data.durable import made_folder, written_file
from moesaic.training.data.preparation import prepare
from moesaic.training.data.prepared import PreparedData
from moesaic.training.data.reading import read_source
from moesaic.training.data.shard_reader import ShardReader
from moesaic.training.data.text_document import TextDocument
from moesaic.training.data.text_encoder import FolderEncoder
from moesaic.training.model_source import described_start
from moesaic.training.pretraining import pretrain
from moesaic.training.recipe import Recipe

__all__ = ["Adapted", "FinishedStage", "adapt"]


@dataclass(frozen=True, kw_only=True)
class FinishedStage:
    """What a stage came to."""

    settings: StageSettings
    """The stage in numbers."""
    figures: dict[str, float]
    """Figures of its final evaluation by name."""
    artifacts: tuple[ModelArtifact, ...]
    """Its artifact, and the rounded one."""
    passed_over: bool
    """Whether an earlier call had finished it."""

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return {
            "name": self.settings.stage.name,
            "begins_with": self.settings.begins_with,
            "steps": self.settings.steps,
            "learning_rate": self.settings.learning_rate,
            "ratios": self.settings.ratios,
            "passed_over": self.passed_over,
            "evaluation": self.figures,
            "artifacts": [{"folder": str(made.folder), "digest": made.digest} for made in self.artifacts],
        }


@dataclass(frozen=True, kw_only=True)
class Adapted:
    """What a plan came to."""

    stages: tuple[FinishedStage, ...]
    """In their order."""
    nearest: dict[str, Any] | None
    """How many sentences `[nearest]` chose, and how near they are."""
    mixing: MixingChoice | None
    """What `[mixing]` chose."""

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return {
            "nearest": self.nearest,
            "mixing": None if self.mixing is None else asdict(self.mixing),
            "stages": [stage.to_json() for stage in self.stages],
        }


@contextmanager
def _unwatched(_name: str, _steps: int, /) -> Iterator[Any]:
    yield lambda _line: None, lambda _stage, _done, _total: None


def adapt(recipe: PlanRecipe, *, watch: Watch = _unwatched) -> Adapted:
    """Carry out a plan, from where an earlier call stopped.

    Args:
        recipe: the plan.
        watch: asked before each part for listeners: of the metrics' lines, and of the progress of what is around them.

    Raises:
        RecipeError: a stage's folder holds a run of another plan, or no mixture keeps to the budget.
        CorpusError: a corpus is missing, or too small.
        What `pretrain` raises.
    """
    _write_tokenizer(recipe)
    nearest = None if recipe.nearest is None else _made_nearest(recipe, recipe.nearest)
    choice = None
    if recipe.mixing is not None:
        recipe, choice = _mixed(recipe, recipe.mixing, watch)
    tokens = {}
    for stage in recipe.plan.stages:  # before the first step: data that is missing shows at once
        tokens[stage.corpus] = _tokens(_prepared(recipe, stage, watch), stage.corpus)
    finished: list[FinishedStage] = []
    for settings in _settings(recipe, tokens):
        former = finished[-1].artifacts[0] if finished else None
        finished.append(_finished(recipe, settings, former, watch))
    return Adapted(stages=tuple(finished), nearest=nearest, mixing=choice)


def _mixed(recipe: PlanRecipe, mixing: MixingConfig, watch: Watch) -> tuple[PlanRecipe, MixingChoice]:
    """The plan with the share of general text that short runs speak for."""
    recipe = recipe.with_general_share(1 - mixing.ratios[0])  # any, so that general text is prepared with the rest
    first = recipe.plan.stages[0]
    data = _prepared(recipe, first, watch)
    settings = next(_settings(recipe, {first.corpus: _tokens(data, first.corpus)}))
    choice = choose_by_trials(recipe, mixing, settings, data, watch)
    return recipe.with_general_share(1 - choice.ratio), choice


def _settings(recipe: PlanRecipe, tokens: dict[str, int]) -> Iterator[StageSettings]:
    """The stages in numbers, as far as the tokens of their corpora are known."""
    return recipe.plan.settings(
        tokens,
        pretraining_rate=recipe.config.pretraining_rate,
        tokens_per_step=recipe.batch.rows * recipe.batch.sequence_length,
    )


def _write_tokenizer(recipe: PlanRecipe) -> None:
    """The base's tokenizer, which all data is made with; the base may be gone when a later call goes on."""
    done = recipe.tokenizer / "generation_config.json"  # written last
    if done.is_file():
        return
    start = described_start(recipe.model)
    made_folder(recipe.tokenizer)
    write_tokenizer_files(
        start.tokenizer, recipe.tokenizer, config=start.model.config.to_dict(), where=start.origin.base
    )


def _made_nearest(recipe: PlanRecipe, config: NearestConfig) -> dict[str, Any]:
    """Write the corpus of a task and its neighbours, unless it was made of the same texts; returns the report."""
    task = [document.text for document in read_source(recipe.corpora[config.task])]
    field = [document.text for document in read_source(recipe.corpora[config.source])]
    made_of = {"options": asdict(config.options), "embedder": config.embedder, "texts": _digest([*task, "", *field])}
    path = Path(recipe.corpora[NEAREST].paths[0])

    def make() -> dict[str, Any]:
        found = nearest_sentences(task, field, load_embedder(config.embedder), config.options)
        with written_file(path) as file:
            for number, text in enumerate([*task, *found.texts]):
                file.write(TextDocument(id=str(number), text=text).to_line())
        return {key: value for key, value in asdict(found).items() if key != "texts"}

    return kept_result(path.with_suffix(".json"), made_of, make)


def _digest(texts: Sequence[str]) -> str:
    total = hashlib.sha256()
    for text in texts:
        total.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    return total.hexdigest()


def _prepared(recipe: PlanRecipe, stage: AdaptationStage, watch: Watch) -> PreparedData:
    """A stage's data; at once, if it is there."""
    config = DataConfig.from_mapping(recipe.data_table(stage.name, recipe.plan.ratios(stage)))
    with watch(f"data of {stage.name}", 0) as (_, progress):
        return prepare(config, tokenizer=FolderEncoder(recipe.tokenizer), progress=progress)


def _tokens(data: PreparedData, corpus: str) -> int:
    return ShardReader(data.train[corpus], verify=False).index.tokens


def _finished(recipe: PlanRecipe, settings: StageSettings, former: ModelArtifact | None, watch: Watch) -> FinishedStage:
    """A stage's artifacts: those that are there, or new ones."""
    stage = recipe.stage_recipe(settings, base=None if former is None else former.folder)
    known = _known(stage, former)
    if known:
        figures = dict(known[0].manifest.metrics)
        return FinishedStage(settings=settings, figures=figures, artifacts=known, passed_over=True)
    with watch(settings.stage.name, settings.steps) as (report, progress):
        outcome = pretrain(stage, report=report, progress=progress)
    return FinishedStage(settings=settings, figures=outcome.figures, artifacts=outcome.artifacts, passed_over=False)


def _known(stage: Recipe, former: ModelArtifact | None) -> tuple[ModelArtifact, ...]:
    """The artifacts that an earlier call wrote for this very stage, none if one is missing."""
    assert stage.output.folder is not None
    folders = [stage.output.folder]
    if stage.output.quantize is not None:
        folders.append(stage.output.folder.with_name(f"{stage.output.folder.name}-{stage.output.quantize}"))
    if not all((folder / MANIFEST_NAME).is_file() for folder in folders):
        return ()
    found = [ModelArtifact.open(folder) for folder in folders]
    lineage = found[0].manifest.lineage
    if dict(lineage.options) != stage.to_json():
        return ()
    if former is not None and lineage.parent != former.digest:
        raise RecipeError(
            f"{stage.output.folder} was trained from other weights than {former.folder} has now: remove it and "
            f"{stage.run.folder}, or give plan.folder another name"
        )
    return tuple(found)
