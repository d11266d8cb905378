"""Tuning in the trainer of this package: it learns the answers, resumes exactly, and its checkpoint merges exactly."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from moesaic.model.causal_lm import GPTMoEForCausalLM
from moesaic.training.batch import IGNORED
from moesaic.training.checkpoint import Checkpoint, CheckpointStore
from moesaic.training.document_view import document_view
from moesaic.training.model_runner import ModelRunner
from moesaic.training.optimizers import OptimizerConfig, built_optimizers
from moesaic.training.processes import Processes
from moesaic.training.router_losses import ConfiguredObjective, RouterConfig
from moesaic.training.run_folder import RunFolder
from moesaic.training.run_options import BatchConfig, DistributedConfig, PrecisionConfig, RunConfig
from moesaic.training.schedule import ScheduleConfig
from moesaic.training.spike_guard import GuardConfig, SpikeGuard
from moesaic.training.token_loss import summed_loss
from moesaic.training.trainer import Trainer, TrainerOptions
from moesaic.training.tuning.conversation import Conversation, Message, Role
from moesaic.training.tuning.example_recipe import ExampleOptions, example_source, write_examples
from moesaic.training.tuning.low_rank import LowRankOptions, MergedWeights
from moesaic.training.tuning.tuned_part import TunedPart, TuningOptions, finish_tuning, tune
from tests.training.tuning.chat_tokenizers import CHATML, byte_tokenizer

ModelMaker = Callable[[], GPTMoEForCausalLM]
STEPS = 8
LORA = LowRankOptions(rank=4, alpha=16)
STILL = RouterConfig(balance_coefficient=0.0, z_coefficient=0.0, bias_rate=0.0)


@dataclass
class Run:
    trainer: Trainer
    model: GPTMoEForCausalLM
    folder: Path

    def checkpoint(self) -> Checkpoint:
        found = CheckpointStore(self.folder / "checkpoints", Processes(), keep=2).latest(lambda _: None)
        assert found is not None
        return found

    def weights(self) -> dict[str, torch.Tensor]:
        stored = self.checkpoint()
        return {name: stored.tensor("weights", name) for name in stored.names("weights")}


@pytest.fixture
def examples(tmp_path: Path) -> ExampleOptions:
    said = [("2+2", "4"), ("你好", "早上好"), ("cat", "mat"), ("sun", "moon")]
    write_examples(
        tmp_path / "examples.jsonl",
        [
            Conversation(
                messages=(Message(role=Role.USER, content=asked), Message(role=Role.ASSISTANT, content=answer))
            )
            for asked, answer in said
        ],
    )
    return ExampleOptions(paths=(tmp_path / "examples.jsonl",))


def made(model: GPTMoEForCausalLM, folder: Path, examples: ExampleOptions, part: TunedPart, steps: int) -> Run:
    """A run as the trainer's own command puts it together, with two lines of tuning."""
    processes = Processes()
    tune(model, TuningOptions(part=part, lora=LORA))
    source = example_source(
        examples, byte_tokenizer(CHATML), folder, sequence_length=96, rows=2, seed=4, processes=processes
    )
    runner = ModelRunner(model, processes, PrecisionConfig(), DistributedConfig())
    trainer = Trainer(
        runner=runner,
        optimizers=built_optimizers(model, OptimizerConfig(learning_rate=0.01, weight_decay=0.0)),
        source=source,
        folder=RunFolder(folder),
        options=TrainerOptions(
            run=RunConfig(folder=folder, steps=steps, checkpoint_every=4),
            batch=BatchConfig(rows=2, micro_rows=1, sequence_length=96),
            # A rate that depends on the length of the run would tell the two halves from the whole.
            schedule=ScheduleConfig(kind="constant", warmup_steps=0),
        ),
        objective=ConfiguredObjective(STILL, model, total_steps=STEPS),
        guard=SpikeGuard(GuardConfig()),
    )
    return Run(trainer, model, folder)


def run(make_model: ModelMaker, folder: Path, examples: ExampleOptions, part: TunedPart, steps: int = STEPS) -> Run:
    folder.mkdir(exist_ok=True)
    found = made(make_model(), folder, examples, part, steps)
    if RunFolder(folder).was_started:
        assert found.trainer.resume()
    else:
        RunFolder(folder).begin({})
    found.trainer.train()
    return found


def answer_loss(model: Any, examples: ExampleOptions, folder: Path) -> float:
    """Nats per token of the answers."""
    source = example_source(
        examples, byte_tokenizer(CHATML), folder, sequence_length=96, rows=2, seed=0, processes=Processes()
    )
    batch = source.next()
    view = document_view(batch)
    with torch.no_grad():
        logits = model.eval()(input_ids=batch.input_ids_BS, position_ids=view.positions_BS, use_cache=False).logits
    return float(summed_loss(logits, view.targets_BS)) / int((view.targets_BS != IGNORED).sum())


@pytest.mark.parametrize("part", list(TunedPart))
def test_an_interrupted_run_ends_with_the_same_weights(
    make_model: ModelMaker, examples: ExampleOptions, tmp_path: Path, part: TunedPart
) -> None:
    whole = run(make_model, tmp_path / "whole", examples, part)
    run(make_model, tmp_path / "parts", examples, part, steps=4)
    parts = run(make_model, tmp_path / "parts", examples, part)
    for name, value in whole.weights().items():
        assert torch.equal(value, parts.weights()[name]), name


@pytest.mark.parametrize("part", list(TunedPart))
def test_it_learns_the_answers_and_moves_what_it_may(
    make_model: ModelMaker, examples: ExampleOptions, tmp_path: Path, part: TunedPart
) -> None:
    before = {name: value.clone() for name, value in make_model().state_dict().items()}
    untouched = answer_loss(make_model(), examples, tmp_path)
    found = run(make_model, tmp_path / "run", examples, part)
    tuned = answer_loss(found.model, examples, tmp_path)
    assert tuned < 0.6 * untouched
    assert math.isfinite(tuned)

    # What is written from the checkpoint, a tensor at a time, is the merged model bit for bit.
    written = dict(MergedWeights(found.weights(), LORA))
    finish_tuning(found.model)
    after = found.model.state_dict()
    assert set(written) | {"lm_head.weight"} == set(after)
    assert all(torch.equal(value, after[name]) for name, value in written.items())
    assert answer_loss(found.model, examples, tmp_path) == pytest.approx(tuned, abs=1e-6)

    moved = {name for name in before if not torch.equal(before[name], after[name])}
    allowed = {
        TunedPart.FULL: lambda name: "gate.bias" not in name,
        TunedPart.EXPERTS: lambda name: "experts" in name,
        TunedPart.LOW_RANK: lambda name: "_proj" in name,
    }[part]
    assert moved == {name for name in before if allowed(name)}
