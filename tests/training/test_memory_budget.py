"""A run that cannot fit into the memory is refused before it begins, by figures that agree with what is kept."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from moesaic.errors import TrainingError
from moesaic.model.causal_lm import GPTMoEForCausalLM
from moesaic.training import memory_budget as budgets
from moesaic.training import training_step
from moesaic.training.memory_budget import MemoryBudget, available_bytes, memory_budget
from moesaic.training.model_runner import ModelRunner
from moesaic.training.optimizers import OptimizerConfig, built_optimizers
from moesaic.training.processes import Processes
from moesaic.training.run_options import BatchConfig, DistributedConfig, PrecisionConfig
from moesaic.training.training_step import accumulated_gradients
from moesaic.training.tuning.low_rank import LowRankOptions
from moesaic.training.tuning.tuned_part import TunedPart, TuningOptions, tune
from tests.training.tiny_run import one_thread, random_batch, run, tiny_config, tiny_model

BATCH = BatchConfig(rows=8, micro_rows=4, sequence_length=32)


def budget_of(model: Any, **tables: Any) -> MemoryBudget:
    """A budget in one process, AdamW and DDP unless the tables say otherwise."""
    given: dict[str, Any] = {
        "batch": BATCH,
        "optimizer": OptimizerConfig(),
        "precision": PrecisionConfig(),
        "distributed": DistributedConfig(),
        "processes": 1,
    }
    return memory_budget(model, **(given | tables))


def weights_bytes(model: torch.nn.Module) -> int:
    return sum(4 * parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("kind", ["adamw", "muon", "lamb", "adamw8bit"])
def test_moments_are_as_large_as_the_optimizers(kind: Any) -> None:
    model = tiny_model()
    config = OptimizerConfig(kind=kind)
    optimizers = built_optimizers(model, config)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizers.step()
    shared = ("::step", "::qmap1", "::qmap2")  # a number, and tables that all parameters have together
    kept = {name: tensor for name, tensor in optimizers.state().items() if not name.endswith(shared)}
    found = sum(tensor.numel() * tensor.element_size() for tensor in kept.values())
    assert budget_of(model, optimizer=config).moments == pytest.approx(found, rel=0.01)


@pytest.mark.parametrize(
    ("experts", "fields", "precision"),
    [
        ((0, 4, 0, 2), {}, {}),
        ((4, 4), {"moe_residual": False}, {}),
        ((0, 0), {"hidden_size": 64, "num_attention_heads": 4}, {}),
        ((4, 4, 4), {"intermediate_size": 256}, {"autocast": "bfloat16"}),
        ((4, 4, 4, 4), {"intermediate_size": 256}, {"activation_checkpointing": True}),
    ],
)
def test_activations_are_what_autograd_keeps(
    experts: tuple[int, ...], fields: dict[str, Any], precision: dict[str, Any]
) -> None:
    model = tiny_model(experts, **fields)
    runner = ModelRunner(model, Processes(), PrecisionConfig(**precision), DistributedConfig())
    with one_thread():
        found = kept_bytes(runner)
    budget = budget_of(model, precision=PrecisionConfig(**precision))
    expected = budget.activations - BATCH.micro_rows * BATCH.sequence_length * 4 * model.config.vocab_size
    if precision.get("activation_checkpointing"):
        # Between the passes each layer keeps its input; one at a time is then computed again.
        inputs = BATCH.micro_rows * BATCH.sequence_length * 4 * 32 * len(experts)
        assert inputs < found < expected
        assert expected < 0.4 * (budget_of(model).activations)
    else:
        assert found == pytest.approx(expected, rel=0.15)


def kept_bytes(runner: ModelRunner) -> int:
    """Bytes that the layers keep for the backward pass of one micro-batch, weights left out."""
    own = {tensor.untyped_storage().data_ptr() for tensor in runner.model.state_dict().values()}
    seen: dict[int, int] = {}
    alive = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    batch = random_batch(BATCH.micro_rows, BATCH.sequence_length)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        runner.forward(input_ids=batch.input_ids_BS, position_ids=torch.arange(32).repeat(BATCH.micro_rows, 1))
    return sum(seen.values())


def test_shards_and_divided_experts_need_a_part() -> None:
    model = tiny_model((4, 4))
    whole = budget_of(model)
    assert (whole.parameters, whole.gradients, whole.moments) == tuple(weights_bytes(model) * n for n in (1, 1, 2))
    assert (whole.gathered, whole.on_host) == (0, 0)
    half = budget_of(model, processes=2, distributed=DistributedConfig(strategy="fsdp"))
    assert half.parameters == pytest.approx(whole.parameters / 2, rel=0.01)
    assert half.moments == pytest.approx(whole.moments / 2, rel=0.01)
    assert 0 < half.gathered < 2 * whole.parameters
    copied = budget_of(model, processes=2)
    assert (copied.parameters, copied.gradients) == (whole.parameters, 2 * whole.gradients)
    divided = budget_of(model, processes=2, distributed=DistributedConfig(expert_parallel=2))
    experts = sum(weights_bytes(mixture.experts) for mixture in model.mixtures)
    assert divided.parameters == whole.parameters - experts // 2
    # One micro-batch in a step: its activations go as its gradients come.
    assert whole.accumulates
    alone = budget_of(model, batch=BatchConfig(rows=4, micro_rows=4, sequence_length=32))
    assert not alone.accumulates
    assert alone.on_device < whole.on_device


def test_one_process_with_too_little_refuses_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    class Two(Processes):
        """Two processes, of which the other one has little."""

        def gathered(self, value: Any) -> list[Any]:
            return [value, (1000, 1000)]

    monkeypatch.setattr(budgets, "available_bytes", lambda: 2**40)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    budget = budget_of(tiny_model(), processes=2, distributed=DistributedConfig(strategy="fsdp"))
    budget.check(Processes(size=1))
    with pytest.raises(TrainingError, match=r"0\.0 MiB are free .* set optimizer\.kind='muon';"):
        budget.check(Two(size=2))


def test_low_rank_updates_need_no_moments_of_what_is_frozen() -> None:
    model = tiny_model((0, 4))
    before = budget_of(model)
    tune(model, TuningOptions(part=TunedPart.LOW_RANK, lora=LowRankOptions(rank=2)))
    tuned = budget_of(model)
    assert tuned.moments < 0.3 * before.moments
    assert tuned.moments == 2 * tuned.gradients
    assert tuned.activations > before.activations  # the updated weights


def test_a_run_that_cannot_fit_is_refused_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "available_bytes", lambda: 2**20)
    with one_thread():
        with pytest.raises(TrainingError) as refusal:
            run(tmp_path)
        said = str(refusal.value)
        assert "1.0 MiB are free" in said
        for part in ("parameters", "gradients", "moments", "activations"):
            assert f"{part} " in said
        for remedy in (
            "batch.micro_rows below 2",
            "precision.activation_checkpointing=true",
            "optimizer.kind='muon' or 'adamw8bit'",
            "distributed.strategy='fsdp'",
        ):
            assert remedy in said
        assert not (tmp_path / "run" / "recipe.json").exists()
        monkeypatch.setattr(budgets, "available_bytes", lambda: 2**19)
        with pytest.raises(TrainingError) as second:
            run(tmp_path, "batch.micro_rows=1", "precision.activation_checkpointing=true", "optimizer.kind=muon")
        assert "micro_rows" not in str(second.value)
        assert "activation_checkpointing" not in str(second.value)
        assert "optimizer.kind" not in str(second.value)
        monkeypatch.setattr(budgets, "available_bytes", lambda: 2**26)
        run(tmp_path, "run.steps=1")
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    (memory,) = [event for event in events if event["event"] == "memory"]
    model = GPTMoEForCausalLM(tiny_config(router_jitter=0.01))
    assert memory["parameters"] == weights_bytes(model)


@pytest.mark.parametrize("kind", [MemoryError, torch.OutOfMemoryError, None])
def test_memory_that_ends_in_a_step_ends_the_run_with_the_same_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception] | None
) -> None:
    step = accumulated_gradients

    def exhausted(*arguments: Any, **options: Any) -> Any:
        if arguments[3] == 3:
            if kind is not None:
                raise kind("no more")
            torch.empty(2**55)
        return step(*arguments, **options)

    monkeypatch.setattr("moesaic.training.trainer.accumulated_gradients", exhausted)
    with one_thread():
        with pytest.raises(
            TrainingError, match=r"memory is exhausted .* lower batch\.micro_rows .* checkpoints .* kept"
        ):
            run(tmp_path)
        monkeypatch.setattr("moesaic.training.trainer.accumulated_gradients", training_step.accumulated_gradients)
        assert run(tmp_path).resumed_at == 2


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes"), budget_of(tiny_model()).exhaustion():
        raise RuntimeError("shapes differ")


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_the_tightest_limit_counts(tmp_path: Path) -> None:
    meminfo = "MemTotal: 9000 kB\nMemAvailable: 8000 kB\n"
    write(tmp_path, proc__meminfo=meminfo)
    assert available_bytes(tmp_path) == 8000 * 1024
    write(tmp_path, proc__self__cgroup="0::/jobs/run\n")
    assert available_bytes(tmp_path) == 8000 * 1024
    stat = "anon 5\ninactive_file 4096\n"
    for folder, limit in (("jobs", "1000000"), ("jobs/run", "max")):
        place = tmp_path / "sys/fs/cgroup" / folder
        place.mkdir(parents=True, exist_ok=True)
        for name, text in (("memory.max", limit), ("memory.current", "600000"), ("memory.stat", stat)):
            (place / name).write_text(text)
    assert available_bytes(tmp_path) == 1_000_000 - 600_000 + 4096


def test_limits_of_the_older_cgroups_count_too(tmp_path: Path) -> None:
    write(tmp_path, proc__meminfo="MemAvailable: 8000 kB\n", proc__self__cgroup="5:cpu:/\n4:memory,x:/outside\n")
    place = tmp_path / "sys/fs/cgroup/memory"
    place.mkdir(parents=True)
    for name, text in (("limit_in_bytes", "900000"), ("usage_in_bytes", "950000"), ("stat", "total_inactive_file 0")):
        (place / f"memory.{name}").write_text(text)
    assert available_bytes(tmp_path) == 0


def test_this_machine_has_memory() -> None:
    assert available_bytes() > 2**20
