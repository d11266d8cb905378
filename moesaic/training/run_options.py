"""Tables of a recipe that belong to the run itself: its length and folder, batches, precision and processes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from moesaic.errors import RecipeError

__all__ = ["BatchConfig", "DistributedConfig", "OutputConfig", "PrecisionConfig", "RunConfig", "Stage"]


Stage = Literal["pretrain", "dapt", "tapt", "knn-tapt", "sft"]
"""From raw text; on a field's text, a task's, or what is nearest to the task's; on examples."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The `[run]` table of a recipe."""

    folder: Path
    """Where the run keeps its checkpoints, metrics and plots."""
    steps: int
    """Optimizer steps of the whole run."""
    stage: Stage = "pretrain"
    """What kind of training this is, as the lineage of the artifact will say."""
    seed: int = 0
    """Seed of the weights, the order of the data and everything else that is random."""
    checkpoint_every: int = 100
    """Steps between checkpoints; there is one at the beginning and at the end in any case."""
    keep_checkpoints: int = 2
    """How many checkpoints are kept."""
    plot_every: int = 0
    """Steps between drawings of the plots; 0 draws at the end only."""

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        for name, least in (("steps", 1), ("checkpoint_every", 1), ("keep_checkpoints", 1), ("plot_every", 0)):
            if getattr(self, name) < least:
                raise RecipeError(f"{name}={getattr(self, name)!r} must be at least {least}")
        if not 0 <= self.seed < 2**63:
            raise RecipeError(f"seed={self.seed!r} must lie between 0 and 2**63 - 1")


@dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """The `[batch]` table of a recipe. Rows count over all processes, except `micro_rows`."""

    rows: int = 32
    """Rows of one optimizer step."""
    micro_rows: int = 8
    """Rows that one process computes at once; the gradients of the others are added up."""
    sequence_length: int = 512
    """Tokens of a row."""
    initial_rows: int | None = None
    """Rows of the first steps; the batch grows from there to `rows` by multiples of this."""
    growth_steps: int = 0
    """Steps until the batch has all its rows."""

    def __post_init__(self) -> None:
        """Refuse numbers out of range, and a growth that does not come out even."""
        for name, least in (("rows", 1), ("micro_rows", 1), ("sequence_length", 2), ("growth_steps", 0)):
            if getattr(self, name) < least:
                raise RecipeError(f"{name}={getattr(self, name)!r} must be at least {least}")
        if (self.initial_rows is None) != (self.growth_steps == 0):
            raise RecipeError(
                f"initial_rows={self.initial_rows!r} and growth_steps={self.growth_steps!r} belong together: "
                "give both, or none"
            )
        if self.initial_rows is not None and (self.initial_rows < 1 or self.rows % self.initial_rows):
            raise RecipeError(f"rows={self.rows!r} must be a multiple of initial_rows={self.initial_rows!r}")

    @property
    def unit_rows(self) -> int:
        """Rows that are taken from the data at once; a step takes one or more of these."""
        return self.initial_rows or self.rows

    def units(self, step: int) -> int:
        """How many units the step (from 0) has."""
        most = self.rows // self.unit_rows
        if step >= self.growth_steps:
            return most
        return 1 + (most - 1) * step // self.growth_steps

    def check_processes(self, size: int) -> None:
        """Raise `RecipeError` unless the rows can be shared evenly."""
        if self.unit_rows % size:
            raise RecipeError(
                f"{self.unit_rows} rows of a batch cannot be shared evenly by {size} processes: "
                f"make batch.{'rows' if self.initial_rows is None else 'initial_rows'} a multiple of {size}"
            )


@dataclass(frozen=True, kw_only=True)
class PrecisionConfig:
    """The `[precision]` table of a recipe. Weights, gradients and moments are fp32 in any case."""

    autocast: Literal["none", "bfloat16"] = "none"
    """Type that matrix products are computed in; routers stay in fp32."""
    activation_checkpointing: bool = False
    """Keep only the inputs of each layer and compute it again for the gradients: less memory, a third more time."""


@dataclass(frozen=True, kw_only=True)
class DistributedConfig:
    """The `[distributed]` table of a recipe; it matters under torchrun only."""

    strategy: Literal["ddp", "fsdp"] = "ddp"
    """`ddp`: every process has the whole model. `fsdp`: each has a shard of every layer and of its moments (FSDP2)."""
    cpu_offload: bool = False
    """With `fsdp` on accelerators: keep shards and moments in the memory of the host."""

    expert_parallel: int = 1
    """Parts into which the experts of each mixture are divided: 1, or the number of processes."""

    def __post_init__(self) -> None:
        """Offload belongs to FSDP, and leaves no part of a model out."""
        if self.expert_parallel < 1:
            raise RecipeError(f"expert_parallel={self.expert_parallel!r} must be 1, or the number of processes")
        if self.cpu_offload and self.expert_parallel > 1:
            raise RecipeError(
                f"cpu_offload=true cannot move experts that expert_parallel={self.expert_parallel} has divided: "
                "set one of the two back"
            )
        if self.cpu_offload and self.strategy != "fsdp":
            raise RecipeError("cpu_offload=true needs strategy='fsdp': DDP keeps whole models where they compute")


@dataclass(frozen=True, kw_only=True)
class OutputConfig:
    """The `[output]` table of a recipe: the artifact that the run ends with."""

    folder: Path | None = None
    """Where the artifact is written; none is written if not given."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Precision of its weights."""
    quantize: Literal["int8", "int8-experts", "int4"] | None = None
    """Scheme of a second, rounded artifact beside it, named after the first with the scheme appended."""
    overwrite: bool = False
    """Whether artifacts that are there already are replaced."""

    def __post_init__(self) -> None:
        """A rounded artifact needs one to round."""
        if self.quantize is not None and self.folder is None:
            raise RecipeError(f"quantize={self.quantize!r} needs folder: the artifact that is rounded")
