"""The training loop: steps, guard, metrics, evaluations, checkpoints, and an exact way back after an interruption.

- Everything that the next step depends on is in a checkpoint: weights, buffers (balancing biases), moments, the
  objective's memory, the guard, the data's position and the random state. A run that is killed at any time and resumed
  gives the same metrics, bit for bit on one process; metrics of steps that are computed again are removed first.
- The loop knows no recipe: any code that has a model, a source and optimizers can use it.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from moesaic.errors import DamagedRunError, DivergedError, RecipeError
from moesaic.training.batch import Batch, BatchSource
from moesaic.training.checkpoint import Checkpoint, CheckpointStore
from moesaic.training.document_view import micro_batches
from moesaic.training.evaluation import HeldOut
from moesaic.training.model_runner import ModelRunner
from moesaic.training.optimizers import OptimizerSet
from moesaic.training.random_state import random_state, restore_random_state
from moesaic.training.router_objective import RouterObjective
from moesaic.training.run_folder import RunFolder
from moesaic.training.run_options import BatchConfig, RunConfig
from moesaic.training.schedule import ScheduleConfig
from moesaic.training.spike_guard import SpikeGuard, Verdict
from moesaic.training.training_step import StepResult, accumulated_gradients
from moesaic.training.weight_state import optimizer_tensors, restore_optimizer, restore_weights, weight_tensors

__all__ = ["Report", "Trainer", "TrainerOptions", "trains_routers"]

Report = Callable[[Mapping[str, Any]], None]
"""Called with every line of the metrics, in the first process."""


def _silent(_: Mapping[str, Any]) -> None:
    """No one watches."""


@dataclass(frozen=True, kw_only=True)
class TrainerOptions:
    """How a `Trainer` goes about its run."""

    run: RunConfig
    """Length, checkpoints and seed."""
    batch: BatchConfig
    """Rows of a step."""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    """Learning rate over the run."""
    clip_norm: float = 1.0
    """Largest norm of all gradients together; 0 leaves them as they are."""
    evaluate_every: int = 0
    """Steps between evaluations; 0 evaluates at the end only."""
    evaluation_rows: int = 8
    """Rows of one forward pass in an evaluation."""


def trains_routers(model: Any) -> bool:
    """Whether routers are trained, and so need an objective: not in a dense model, nor where they are frozen."""
    return any(mixture.gate.weight.requires_grad for mixture in getattr(model, "mixtures", []))


class Trainer:
    """Trains a model.

    Args:
        runner: the model, wrapped.
        optimizers: over its parameters.
        source: gives this process's rows of `batch.unit_rows` rows over all processes.
        folder: of the run; this process holds its lock.
        options: how.
        objective: losses of the routers; None for a dense model, or one whose routers are frozen.
        guard: judges gradient norms.
        held_out: held-out sets by name.
        token_bytes_V: bytes of each token, for bits per byte of the training data.
        report: told of every line of the metrics.
        draw: called with the lines so far when plots are due.
    """

    def __init__(
        self,
        *,
        runner: ModelRunner,
        optimizers: OptimizerSet,
        source: BatchSource,
        folder: RunFolder,
        options: TrainerOptions,
        objective: RouterObjective | None,
        guard: SpikeGuard,
        held_out: Mapping[str, HeldOut] | None = None,
        token_bytes_V: torch.Tensor | None = None,
        report: Report = _silent,
        draw: Callable[[], None] | None = None,
    ) -> None:
        self._runner, self._optimizers, self._source = runner, optimizers, source
        self._folder, self._options, self._objective, self._guard = folder, options, objective, guard
        self._held_out, self._token_bytes_V = dict(held_out or {}), token_bytes_V
        self._report, self._draw = report, draw
        self._processes = runner.processes
        self._store = CheckpointStore(folder.checkpoints, self._processes, keep=options.run.keep_checkpoints)
        self._step = 0
        options.batch.check_processes(self._processes.size)
        if objective is None and trains_routers(runner.model):
            raise RecipeError("a model whose routers are trained needs a router objective: they would not be balanced")

    @property
    def step(self) -> int:
        """Optimizer steps that are done."""
        return self._step

    def resume(self) -> bool:
        """Go on from the newest sound checkpoint; False if there is none, `DamagedRunError` if all are damaged."""
        checkpoint = self._store.latest(self._warn)
        if checkpoint is None:
            return False
        self._load(checkpoint)
        self._source.restore(checkpoint.state["source"])
        self._guard.restore(checkpoint.state["guard"])
        local = checkpoint.local(self._processes.rank)
        if local is not None:
            restore_random_state(local)
        if self._processes.is_first:
            self._folder.forget_after(self._step)
            self._folder.note("resume", step=self._step, checkpoint=checkpoint.folder.name)
        return True

    def train(self) -> dict[str, float]:
        """Run to the end and return the figures of the final evaluation by name, such as `held_out.bits_per_byte`.

        Raises:
            DivergedError: a loss or gradient is not finite, or there were more rollbacks than the guard allows.
            CorpusError: the data has foreign tokens, or nothing to predict.
            StorageError: the disk is full. What was saved is kept, and the run can go on.
        """
        self._runner.model.train()
        if self._step == 0:
            self._save()
        while self._step < self._options.run.steps:
            if self._one_step():
                self._after_step()
        return self._evaluate(final=True)

    def _one_step(self) -> bool:
        """One optimizer step; False if it rolled the run back."""
        began = time.perf_counter()
        options = self._options
        rate = self._optimizers.learning_rate(options.schedule.factor(self._step, options.run.steps))
        batches = self._next_batches()
        self._optimizers.zero_grad()
        result = accumulated_gradients(
            self._runner, batches, self._objective, self._step, token_bytes_V=self._token_bytes_V
        )
        if result.culprit is not None and self._guard.config.not_finite == "stop":
            self._diverged(result)
        verdict = self._guard.judge(math.nan if result.culprit is not None else result.gradient_norm)
        if verdict is Verdict.ROLL_BACK:
            self._roll_back(result)
            return False
        if verdict is Verdict.TAKE:
            self._apply(result)
        elif self._processes.is_first:
            self._folder.note(
                "skip", step=self._step + 1, gradient_norm=str(result.gradient_norm), culprit=result.culprit
            )
        self._step += 1
        self._measure(result, rate, verdict, len(batches), time.perf_counter() - began)
        return True

    def _next_batches(self) -> list[Batch]:
        """The micro-batches of the step, this process's rows of them."""
        batch = self._options.batch
        units = [self._source.next() for _ in range(batch.units(self._step))]
        whole = (
            units[0]
            if len(units) == 1
            else Batch(
                input_ids_BS=torch.cat([unit.input_ids_BS for unit in units]),
                labels_BS=torch.cat([unit.labels_BS for unit in units]),
                documents_BS=torch.cat([unit.documents_BS for unit in units]),
            )
        )
        return micro_batches(whole, batch.micro_rows, self._runner.model.config.vocab_size)

    def _apply(self, result: StepResult) -> None:
        """Clip, update the weights, then the routers."""
        norm, limit = result.gradient_norm, self._options.clip_norm
        if limit and norm > limit:
            for parameter in self._optimizers.parameters:
                if parameter.grad is not None:
                    parameter.grad.mul_(limit / (norm + 1e-6))
        self._optimizers.step()
        if self._objective is not None:
            self._objective.after_step(self._runner.model, result.health.loads)
        self._optimizers.zero_grad()

    def _after_step(self) -> None:
        """What is due after a step: evaluation, plots, a checkpoint."""
        options, last = self._options, self._step == self._options.run.steps
        if options.evaluate_every and self._step % options.evaluate_every == 0 and not last:
            self._evaluate(final=False)
        plot_every = options.run.plot_every
        if self._draw is not None and plot_every and self._step % plot_every == 0 and self._processes.is_first:
            self._draw()
        if last or self._step % options.run.checkpoint_every == 0:
            self._save()

    def _evaluate(self, *, final: bool) -> dict[str, float]:
        figures = {}
        for name, held_out in self._held_out.items():
            found = held_out.loss(self._runner, self._options.evaluation_rows)
            figures[f"{name}.bits_per_byte"] = found.bits_per_byte
            figures[f"{name}.loss"] = found.loss
        if figures and self._processes.is_first and not (final and self._was_measured_finally()):
            line = {"step": self._step, "evaluation": figures}
            self._folder.measure(line)
            self._report(line)
        return figures

    def _was_measured_finally(self) -> bool:
        """Whether the last step's evaluation stands in the metrics already, of a run that is finished a second time."""
        return any(line["step"] == self._step and "evaluation" in line for line in self._folder.measured())

    def _measure(self, result: StepResult, rate: float, verdict: Verdict, rounds: int, seconds: float) -> None:
        if not self._processes.is_first:
            return
        line: dict[str, Any] = {
            "step": self._step,
            "loss": result.loss,
            "router_loss": result.router_loss,
            "learning_rate": rate,
            "gradient_norm": result.gradient_norm if math.isfinite(result.gradient_norm) else None,
            "skipped": verdict is not Verdict.TAKE,
            "tokens": result.tokens,
            "targets": result.targets,
            "micro_batches": rounds,
            "seconds": round(seconds, 6),
            "tokens_per_s": round(result.tokens / seconds, 1),
        }
        if not math.isfinite(result.loss):
            line["loss"] = None
        elif result.target_bytes:
            line["bits_per_byte"] = result.loss * result.targets / math.log(2) / result.target_bytes
        if layers := result.health.to_json():
            line["experts"] = layers
        take = getattr(self._objective, "take_metrics", None)
        if take is not None and (measures := take()):
            line["router"] = measures
        self._folder.measure(line)
        self._report(line)

    def _diverged(self, result: StepResult) -> None:
        raise DivergedError(
            f"step {self._step + 1}: {result.culprit} is not finite (loss {result.loss}, gradient norm "
            f"{result.gradient_norm}); the weights are those of step {self._step}. Lower optimizer.learning_rate, look "
            "at the data, or set guard.not_finite='skip' and go on with --resume changed",
            step=self._step + 1,
            culprit=result.culprit or "gradient norm",
        )

    def _roll_back(self, result: StepResult) -> None:
        """Back to the last checkpoint, and on with the data that comes after the spikes."""
        guard = self._guard
        if guard.rollbacks >= guard.config.max_rollbacks:
            culprit = result.culprit or "gradient norm"
            raise DivergedError(
                f"step {self._step + 1}: {culprit} exploded again (gradient norm {result.gradient_norm}) after "
                f"{guard.rollbacks} rollbacks, the most that guard.max_rollbacks allows: lower "
                "optimizer.learning_rate, or look at the data",
                step=self._step + 1,
                culprit=culprit,
            )
        checkpoint = self._store.latest(self._warn)
        if checkpoint is None:
            raise DamagedRunError(
                f"{self._folder.checkpoints} has lost its checkpoints: there is nothing to roll back to"
            )
        seen = self._step + 1
        self._optimizers.zero_grad()
        self._load(checkpoint)
        guard.rollbacks += 1
        if self._processes.is_first:
            self._folder.forget_after(self._step)
            self._folder.note("roll back", step=seen, to=self._step, gradient_norm=str(result.gradient_norm))
        # Saved at once: a resumed run must not meet the same data again.
        self._save()

    def _save(self) -> None:
        groups = {
            "weights": weight_tensors(self._runner.model),
            "optimizer": optimizer_tensors(self._optimizers),
            "objective": self._objective.state() if self._objective is not None else {},
        }
        state = {"source": self._source.state(), "guard": self._guard.state()}
        self._store.save(self._step, self._guard.rollbacks, groups, state=state, local=random_state())

    def _load(self, checkpoint: Checkpoint) -> None:
        """Weights, moments and the objective's memory; not the data's position, nor guard and random state."""
        restore_weights(self._runner.model, checkpoint)
        restore_optimizer(self._optimizers, checkpoint)
        if self._objective is not None:
            names = checkpoint.names("objective")
            self._objective.restore({name: checkpoint.tensor("objective", name) for name in names})
        self._step = checkpoint.step

    def _warn(self, problem: str) -> None:
        if self._processes.is_first:
            self._folder.note("warning", problem=problem)
            self._report({"step": self._step, "warning": problem})
