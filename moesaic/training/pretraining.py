"""A run from its recipe: model, data, optimizers and trainer put together, resumed where it stopped, and its artifact.

from moesaic.training.pretraining import pretrain
outcome = pretrain(load_recipe(Path("recipes/tiny.toml")))
"""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

from transformers import PreTrainedTokenizerFast

from moesaic.artifact import ModelArtifact
from moesaic.errors import RecipeError
from moesaic.model.tokenizer_files import load_tokenizer
from moesaic.training.checkpoint import CheckpointStore
from moesaic.training.data_source import Slice, data_source
from moesaic.training.evaluation import HeldOut, held_out_sets
from moesaic.training.gradient_shrink import shrink_embedding_gradient
from moesaic.training.initial_weights import fill_additions, hollow_model
from moesaic.training.memory_budget import MemoryBudget, memory_budget
from moesaic.training.model_runner import ModelRunner
from moesaic.training.model_source import described_start, empty_model
from moesaic.training.optimizers import built_optimizers
from moesaic.training.plots import draw_plots
from moesaic.training.processes import Processes
from moesaic.training.random_state import seed_everything
from moesaic.training.recipe import Recipe
from moesaic.training.router_losses import ConfiguredObjective
from moesaic.training.run_artifact import Progress, write_artifact, write_start
from moesaic.training.run_folder import RunFolder
from moesaic.training.spike_guard import SpikeGuard
from moesaic.training.token_bytes import token_bytes
from moesaic.training.trainer import Report, Trainer, TrainerOptions, trains_routers
from moesaic.training.tuning.tuned_part import tune

__all__ = ["Outcome", "Resume", "pretrain"]

Resume = Literal["auto", "changed", "never"]
"""`auto`: go on with the run in the folder if its recipe is the same. `changed`: also if the recipe has changed.
`never`: refuse a folder that holds a run."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run came to."""

    steps: int
    """Optimizer steps of the run."""
    resumed_at: int | None
    """The step at which this call took it up, None if it began it."""
    figures: dict[str, float]
    """Figures of the final evaluation by name."""
    artifacts: tuple[ModelArtifact, ...]
    """What was written: the artifact, and the rounded one."""


def _silent(*_: Any) -> None:
    """No one watches."""


def pretrain(
    recipe: Recipe,
    *,
    resume: Resume = "auto",
    processes: Processes | None = None,
    report: Report = _silent,
    progress: Progress = _silent,
) -> Outcome:
    """Train as a recipe says, from where the run in its folder stopped; call it in every process.

    Raises:
        RecipeError: the recipe contradicts itself, the data or the run in the folder.
        RunBusyError: another process is training in the folder.
        DivergedError: the loss is not finite, or exploded too often.
        DamagedRunError: no checkpoint of the run is sound.
        CorpusError: the data is missing, damaged or foreign.
        StorageError: the disk is full or may not be written.
        TrainingError: the run does not fit into the memory, and what else `tune` and `built_optimizers` raise.
    """
    processes = processes or Processes()
    folder = RunFolder(recipe.run.folder)
    recipe.batch.check_processes(processes.size)
    with folder.locked() if processes.is_first else nullcontext():
        fresh = _prepared(recipe, folder, processes, resume)
        runner, budget = _runner(recipe, folder, processes, fresh=fresh)
        if processes.is_first:
            folder.note("memory", **budget.figures())
        trainer = _trainer(recipe, folder, runner, load_tokenizer(folder.start), report, progress)
        with budget.exhaustion():
            resumed = not fresh and trainer.resume()
            resumed_at = trainer.step if resumed else None
            figures = trainer.train()
        artifacts: list[ModelArtifact] = []
        if processes.is_first:
            if recipe.output.folder is not None:
                artifacts = _written(recipe, folder, figures, progress)
            draw_plots(folder.measured(), folder.plots)
            folder.note("end", step=trainer.step)
        processes.wait()
    return Outcome(steps=trainer.step, resumed_at=resumed_at, figures=figures, artifacts=tuple(artifacts))


def _prepared(recipe: Recipe, folder: RunFolder, processes: Processes, resume: Resume) -> bool:
    """Whether the run begins now; refuses a folder that holds another one."""
    store = CheckpointStore(folder.checkpoints, processes, keep=recipe.run.keep_checkpoints)
    # A run that was killed before its first checkpoint was whole begins again.
    fresh = bool(processes.from_first(not folder.was_started or store.is_empty))
    if not fresh:
        if resume == "never":
            raise RecipeError(
                f"{folder.path} holds a run already: leave --resume out to go on with it, or choose another run.folder"
            )
        if resume == "auto":
            folder.check_same(recipe.to_json())
    return fresh


def _runner(
    recipe: Recipe, folder: RunFolder, processes: Processes, *, fresh: bool
) -> tuple[ModelRunner, MemoryBudget]:
    """The model as training begins with it, if there is room; for a run that goes on, one that waits."""
    # Every process makes its part, from the same seed: nothing has to be sent.
    seed_everything(recipe.run.seed)
    start = described_start(recipe.model) if fresh else None
    model = start.model if start is not None else empty_model(folder.start, recipe.model)
    hollow = hollow_model(model.config)
    for either in (model, hollow):
        tune(either, recipe.tuning)
    budget = memory_budget(
        hollow,
        batch=recipe.batch,
        optimizer=recipe.optimizer,
        precision=recipe.precision,
        distributed=recipe.distributed,
        processes=processes.size,
    )
    budget.check(processes)
    with budget.exhaustion():
        runner = ModelRunner(model, processes, recipe.precision, recipe.distributed)
        if start is not None:
            start.fill(runner.model)
            fill_additions(runner.model, hollow)
    if start is not None and processes.is_first:
        write_start(folder.start, start)
        folder.begin(recipe.to_json())
        folder.note("start", processes=processes.size)
    processes.wait()
    return runner, budget


def _trainer(
    recipe: Recipe,
    folder: RunFolder,
    runner: ModelRunner,
    tokenizer: PreTrainedTokenizerFast,
    report: Report,
    progress: Progress,
) -> Trainer:
    """Everything that a run is made of, at its beginning."""
    length, processes = recipe.batch.sequence_length, runner.processes
    part = Slice(length, recipe.batch.unit_rows, recipe.run.seed, processes)
    source = data_source(recipe.corpus, tokenizer, folder, part, progress)
    held_out = held_out_sets(recipe.evaluation, tokenizer, length)
    held_out |= {name: HeldOut.of_shards(reader, length) for name, reader in source.held_out.items()}
    if recipe.optimizer.embedding_gradient < 1:
        shrink_embedding_gradient(runner.model, recipe.optimizer.embedding_gradient)
    trained = trains_routers(runner.model)
    objective = ConfiguredObjective(recipe.router, runner.model, total_steps=recipe.run.steps) if trained else None
    options = TrainerOptions(
        run=recipe.run,
        batch=recipe.batch,
        schedule=recipe.schedule,
        clip_norm=recipe.optimizer.clip_norm,
        evaluate_every=recipe.evaluation.every,
        evaluation_rows=recipe.evaluation.rows,
    )

    def draw() -> None:
        draw_plots(folder.measured(), folder.plots)

    trainer = Trainer(
        runner=runner,
        optimizers=built_optimizers(runner.model, recipe.optimizer),
        source=source.batches,
        folder=folder,
        options=options,
        objective=objective,
        guard=SpikeGuard(recipe.guard),
        held_out=held_out,
        token_bytes_V=token_bytes(tokenizer, runner.model.config.vocab_size),
        report=report,
        draw=draw,
    )
    # From here on processes draw different numbers: dropout and jitter must not repeat.
    seed_everything(recipe.run.seed + 1 + processes.rank)
    return trainer


def _written(recipe: Recipe, folder: RunFolder, figures: dict[str, float], progress: Progress) -> list[ModelArtifact]:
    """The artifacts that the recipe asks for, from the last checkpoint."""
    store = CheckpointStore(folder.checkpoints, Processes(), keep=recipe.run.keep_checkpoints)
    checkpoint = store.latest(lambda problem: folder.note("warning", problem=problem))
    assert checkpoint is not None
    return write_artifact(
        folder.start,
        checkpoint,
        recipe.output,
        operation=recipe.run.stage,
        tuning=recipe.tuning,
        recipe=recipe.to_json(),
        metrics=figures,
        progress=progress,
    )
