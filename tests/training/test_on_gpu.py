"""Training on an NVIDIA GPU: the same losses as on a CPU, exact resume, and steps that do not wait for the device.

Run with `make test-gpu`; a machine without one does not run these.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from moesaic.training.memory_budget import memory_budget
from moesaic.training.model_runner import ModelRunner
from moesaic.training.optimizers import OptimizerConfig, built_optimizers
from moesaic.training.processes import Processes
from moesaic.training.router_losses import ConfiguredObjective, RouterConfig
from moesaic.training.run_options import BatchConfig, DistributedConfig, PrecisionConfig
from moesaic.training.training_step import StepResult, accumulated_gradients
from tests.training.test_interruption import interrupted
from tests.training.tiny_run import lines_of, random_batch, run, tiny_model

pytestmark = pytest.mark.gpu

ROUTERS = ("switch", "bias", "margin", "lsoftmax")


@contextmanager
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        yield


def losses_of(folder: Path) -> list[float]:
    return [line["loss"] for line in lines_of(folder / "run") if "loss" in line]


@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize("kind", ["adamw", "muon", "lamb"])
def test_it_learns_what_a_cpu_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, router: str) -> None:
    # Jitter is drawn by the device's own generator.
    settings = [f"optimizer.kind={kind}", f"router.kind={router}", "model.config.router_jitter=0.0"]
    run(tmp_path / "gpu", *settings)
    with on_the_cpu(monkeypatch):
        run(tmp_path / "cpu", *settings)
    # Muon orthogonalizes in bf16 on a GPU.
    assert losses_of(tmp_path / "gpu") == pytest.approx(
        losses_of(tmp_path / "cpu"), rel=0.03 if kind == "muon" else 2e-3
    )


@pytest.mark.parametrize("kind", ["adamw", "muon", "lamb", "adamw8bit"])
def test_a_run_in_two_parts_is_the_run_in_one(tmp_path: Path, kind: str) -> None:
    settings = [f"optimizer.kind={kind}", "precision.autocast=bfloat16"]
    run(tmp_path / "whole", *settings)
    assert interrupted(tmp_path / "parts", settings, after=3).resumed_at == 2
    assert lines_of(tmp_path / "parts" / "run") == lines_of(tmp_path / "whole" / "run")


def step_of(model: Any, **precision: Any) -> StepResult:
    runner = ModelRunner(model, Processes(), PrecisionConfig(**precision), DistributedConfig())
    objective = ConfiguredObjective(RouterConfig(kind="bias"), model, total_steps=10)
    return accumulated_gradients(runner, [random_batch(4, 32), random_batch(4, 32, seed=4)], objective, 1)


@pytest.mark.parametrize("implementation", ["eager", "batched_mm", "grouped_mm"])
def test_gradients_are_those_of_a_cpu(monkeypatch: pytest.MonkeyPatch, implementation: str) -> None:
    found, expected = tiny_model((4, 2)), tiny_model((4, 2))
    found.set_experts_implementation(implementation)
    on_gpu = step_of(found)
    assert next(found.parameters()).is_cuda
    with on_the_cpu(monkeypatch):
        on_cpu = step_of(expected)
    assert on_gpu.loss == pytest.approx(on_cpu.loss, rel=1e-4)
    assert [load.tolist() for load in on_gpu.health.loads] == [load.tolist() for load in on_cpu.health.loads]
    for (name, one), other in zip(found.named_parameters(), expected.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(one.grad.cpu(), other.grad, atol=2e-4, rtol=2e-2, msg=name)


def test_a_step_needs_no_more_memory_than_was_told() -> None:
    experts = (0, 4) * 4
    sizes = {"vocab_size": 8192, "hidden_size": 512, "intermediate_size": 1024, "num_attention_heads": 8}
    model = tiny_model(experts, **sizes, num_key_value_heads=4, max_position_embeddings=512)
    batch = BatchConfig(rows=16, micro_rows=8, sequence_length=512)
    precision, distributed = PrecisionConfig(autocast="bfloat16"), DistributedConfig()
    told = memory_budget(
        model, batch=batch, optimizer=OptimizerConfig(), precision=precision, distributed=distributed, processes=1
    )
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    runner = ModelRunner(model, Processes(), precision, distributed)
    optimizers = built_optimizers(model, OptimizerConfig())
    for step in range(2):
        optimizers.zero_grad()
        accumulated_gradients(runner, [random_batch(8, 512), random_batch(8, 512)], None, step)
        optimizers.step()
    peak = torch.cuda.max_memory_allocated() - before
    assert 0.6 * told.on_device < peak < 1.15 * told.on_device
