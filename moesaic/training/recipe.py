"""A training recipe: one TOML file that says everything about a run.

    recipe = load_recipe(Path("recipes/tiny.toml"), ["run.steps=100", "optimizer.kind=muon"])

Every table is a frozen dataclass that checks itself; what contradicts across tables is refused here.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moesaic.errors import RecipeError
from moesaic.training.data.data_config import DataConfig
from moesaic.training.data_source import PreparedConfig
from moesaic.training.evaluation import EvaluationConfig
from moesaic.training.model_source import ModelConfig
from moesaic.training.optimizers import OptimizerConfig
from moesaic.training.presets import preset_fields
from moesaic.training.recipe_table import flattened, parsed_table, read_table, with_settings
from moesaic.training.router_losses import RouterConfig
from moesaic.training.run_options import BatchConfig, DistributedConfig, OutputConfig, PrecisionConfig, RunConfig
from moesaic.training.schedule import ScheduleConfig
from moesaic.training.spike_guard import GuardConfig
from moesaic.training.text_source import TextConfig
from moesaic.training.tuning.example_recipe import ExampleOptions
from moesaic.training.tuning.tuned_part import TunedPart, TuningOptions

__all__ = ["CORPORA", "Recipe", "load_recipe", "recipe_of"]

CORPORA = ("text", "data", "prepared", "examples")
"""Tables that say what to train on; a recipe has one of them."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole recipe, every default filled in; each field is the table of that name."""

    run: RunConfig
    model: ModelConfig
    text: TextConfig | None = None
    data: DataConfig | None = None
    prepared: PreparedConfig | None = None
    examples: ExampleOptions | None = None
    tuning: TuningOptions = field(default_factory=TuningOptions)
    batch: BatchConfig = field(default_factory=BatchConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    router: RouterConfig = field(default_factory=RouterConfig)
    guard: GuardConfig = field(default_factory=GuardConfig)
    precision: PrecisionConfig = field(default_factory=PrecisionConfig)
    distributed: DistributedConfig = field(default_factory=DistributedConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    output: OutputConfig = field(default_factory=OutputConfig)

    def __post_init__(self) -> None:
        """Refuse tables that contradict each other."""
        given = [name for name in CORPORA if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            tables = ", ".join(f"[{name}]" for name in CORPORA)
            raise RecipeError(f"a recipe trains on one of {tables}, here is {found}: keep one")
        if (self.run.stage == "sft") != (self.examples is not None):
            raise RecipeError(
                f"run.stage={self.run.stage!r} with [{given[0]}]: examples and the stage 'sft' belong together"
            )
        if self.tuning.part != TunedPart.FULL and self.model.start == "scratch":
            raise RecipeError(
                f"tuning.part={self.tuning.part.value!r} freezes weights, and model.start='scratch' makes them random: "
                "set tuning.part='full', or continue a trained model"
            )
        self.schedule.warmup(self.run.steps)
        self._check_distributed()
        context = (preset_fields(self.model.preset) if self.model.preset else {}) | self.model.config
        longest = context.get("max_position_embeddings")
        if isinstance(longest, int) and self.batch.sequence_length > longest:
            raise RecipeError(
                f"batch.sequence_length={self.batch.sequence_length} exceeds the model's context of {longest} tokens: "
                "shorten the rows, or raise model.config.max_position_embeddings"
            )

    def _check_distributed(self) -> None:
        """Refuse what cannot work on shards."""
        shared = self.distributed
        divides = shared.expert_parallel > 1
        if self.tuning.part == TunedPart.LOW_RANK and divides:
            raise RecipeError(
                f"tuning.part='lora' cannot update experts that distributed.expert_parallel={shared.expert_parallel} "
                "has divided: set it to 1, and distributed.strategy='fsdp' to shard them"
            )
        if self.optimizer.kind == "adamw8bit" and (shared.strategy == "fsdp" or divides):
            raise RecipeError(
                "optimizer.kind='adamw8bit' cannot step on shards, of FSDP or of divided experts: set "
                "distributed.strategy='ddp' and expert_parallel=1, or another optimizer.kind"
            )

    @property
    def corpus(self) -> TextConfig | DataConfig | PreparedConfig | ExampleOptions:
        """The table that says what to train on."""
        found = self.text or self.data or self.prepared or self.examples
        assert found is not None
        return found

    def to_json(self) -> dict[str, Any]:
        """Every value by its dotted key."""
        return flattened(self)


def load_recipe(path: Path, settings: Iterable[str] = ()) -> Recipe:
    """Read a recipe and apply `key=value` settings.

    Raises:
        RecipeError: it is missing or no TOML, has an unknown key, a value out of range, or contradicts itself.
    """
    return recipe_of(with_settings(read_table(path), settings))


def recipe_of(table: dict[str, Any]) -> Recipe:
    """The recipe that a table says; errors as of `load_recipe`."""
    return parsed_table(Recipe, table)
