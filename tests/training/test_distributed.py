"""Two processes train like one, with DDP, FSDP2 and divided experts, and take up each other's runs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from moesaic.errors import RecipeError
from moesaic.model.checkpoint import disk_tensors
from moesaic.model.plain import load_plain
from moesaic.model.shards import ShardReader, ShardWriter
from moesaic.training.expert_parallel import check_expert_parallel
from moesaic.training.processes import Processes
from tests.training.forked_runs import ForkedRun, run_forked
from tests.training.tiny_run import lines_of, one_thread, run, tiny_model, tokenizer_of, write_corpus

SETTINGS = [
    "model.config.router_jitter=0.0",
    "model.config.num_experts_per_layer=[0, 4, 0, 3]",
    "model.config.num_hidden_layers=4",
    # Shares of the run that do not depend on its length, so that shorter runs can be taken up.
    "schedule.kind=constant",
    "router.kind=margin",
    "router.margin_warmup_share=0.0",
    "router.bias_rate=0.01",
    "router.margin_target=top1",
    "optimizer.kind=muon",
    "batch.micro_rows=1",
    "evaluation.every=3",
    "run.checkpoint_every=100",
]

FSDP, DDP, DIVIDED = "distributed.strategy=fsdp", "distributed.strategy=ddp", "distributed.expert_parallel=2"
EVEN = "model.config.num_experts_per_layer=[0, 4, 0, 2]"
SHARD_BYTES = 48_000


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs by name, each of which ended in an artifact."""
    root = tmp_path_factory.mktemp("distributed")
    text = write_corpus(root, characters=500, seed=8)

    def part(
        name: str,
        processes: int,
        *more: str,
        resume: str = "auto",
        of: Sequence[str] = SETTINGS,
        measured: bool = False,
    ) -> ForkedRun:
        ends = (f"evaluation.sets.text={text}", "output.dtype=float32", f"output.folder={root / name / 'artifact'}")
        return ForkedRun(
            folder=str(root / name), processes=processes, settings=(*of, *ends, *more), resume=resume, measured=measured
        )

    short = f"output.folder={root / 'short'}", "output.overwrite=true"
    stored = [item for item in SETTINGS if not item.startswith("model.config")]
    stored += ["model.start=continue", f"model.base={_stored_model(root / 'model')}", "run.steps=2"]
    low_rank = [*stored, "tuning.part=lora", "tuning.lora.rank=4"]
    one_sided = [*stored, f"model.base={_stored_model(root / 'one-sided-model', (0, 2), preferred=0)}"]
    run_forked(
        [
            part("one", 1),
            part("ddp", 2, DDP),
            part("fsdp", 2, FSDP, measured=True),
            # Shards of two processes, taken up by one, and by two again with DDP.
            part("mixed", 2, FSDP, "run.steps=2", *short),
            part("mixed", 1, "run.steps=4", *short, resume="changed"),
            part("mixed", 2, DDP, resume="changed"),
            part("even", 1, EVEN),
            # Divided experts, taken up whole.
            part("divided", 2, EVEN, DIVIDED, "run.steps=3", *short),
            part("divided", 1, EVEN, resume="changed"),
            part("divided-fsdp", 2, EVEN, DIVIDED, FSDP, "precision.activation_checkpointing=true"),
            part("stored-one", 1, of=stored),
            part("stored-fsdp", 2, FSDP, "run.steps=1", *short, of=stored, measured=True),
            part("stored-fsdp", 2, FSDP, resume="changed", of=stored, measured=True),
            part("lora-one", 1, of=low_rank),
            part("one-sided-one", 1, of=one_sided),
            part("one-sided-divided", 2, DIVIDED, of=one_sided),
            part("lora-fsdp", 2, FSDP, of=low_rank, measured=True),
        ]
    )
    return root


def _stored_model(folder: Path, experts: Sequence[int] = (0, 4, 0, 3), preferred: int | None = None) -> Path:
    """A mixture in many small files; all tokens go to the preferred expert."""
    model = tiny_model(experts)
    for mixture in model.mixtures if preferred is not None else ():
        mixture.gate.bias[preferred] = 1000.0
    tokenizer_of(folder)
    (folder / "config.json").write_text(json.dumps(model.config.to_dict()), encoding="utf-8")
    with ShardWriter(folder, max_shard_bytes=SHARD_BYTES, header_bytes=2**14) as writer:
        for name, tensor in disk_tensors(model.state_dict(), model.config):
            writer.write(name, tensor)
    return folder


def assert_alike(one: Sequence[dict[str, Any]], two: Sequence[dict[str, Any]]) -> None:
    """Metrics of a run in one process and in two."""
    assert [line["step"] for line in one] == [line["step"] for line in two]
    for ours, theirs in zip(one, two, strict=True):
        if "evaluation" in ours:
            assert theirs["evaluation"] == pytest.approx(ours["evaluation"], rel=1e-5)
            continue
        for name in ("loss", "router_loss", "gradient_norm", "bits_per_byte", "learning_rate"):
            assert theirs[name] == pytest.approx(ours[name], rel=1e-4), (ours["step"], name)
        assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-5)
        assert theirs["tokens"] == ours["tokens"]
        for layer, other in zip(ours["experts"], theirs["experts"], strict=True):
            assert other["load"] == pytest.approx(layer["load"], abs=1e-4)


def assert_same_weights(one: Path, two: Path) -> None:
    """The artifacts that two runs ended with."""
    expected, found = (load_plain(folder / "artifact").state_dict() for folder in (one, two))
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_train_like_one(runs: Path, strategy: str) -> None:
    one, two = lines_of(runs / "one" / "run"), lines_of(runs / strategy / "run")
    assert_alike(one, two)
    steps = [
        (ours["micro_batches"], theirs["micro_batches"])
        for ours, theirs in zip(one, two, strict=True)
        if "loss" in ours
    ]
    assert steps == [(4, 2)] * 6
    assert_same_weights(runs / "one", runs / strategy)


def test_loads_and_biases_are_those_of_all_processes(runs: Path) -> None:
    biases = [load_plain(runs / name / "artifact").mixtures[0].gate.bias for name in ("one", "ddp", "fsdp")]
    assert biases[0].abs().max() > 0.005
    assert torch.equal(biases[0], biases[1])
    assert torch.equal(biases[0], biases[2])


def test_each_process_stores_its_shards_and_one_of_them_stores_copies(runs: Path) -> None:
    sizes = {}
    for name in ("ddp", "fsdp"):
        folder = runs / name / "run" / "checkpoints" / "step-00000006.0"
        found = sorted(folder.glob("process-*/weights/*.safetensors"))
        sizes[name] = [path.stat().st_size - 2**20 for path in found]  # without the room for the header
    assert len(sizes["ddp"]) == 1
    assert len(sizes["fsdp"]) == 2
    assert sum(sizes["fsdp"]) == pytest.approx(sizes["ddp"][0], rel=0.02)
    assert max(sizes["fsdp"]) < 0.6 * sizes["ddp"][0]


def test_a_sharded_run_is_taken_up_by_one_process_and_then_by_two(runs: Path) -> None:
    lines = lines_of(runs / "mixed" / "run")
    kept = [
        line for line in lines if "evaluation" not in line or line["step"] % 3 == 0
    ]  # short runs evaluate at their end
    assert [line["micro_batches"] for line in kept if "loss" in line] == [2, 2, 4, 4, 2, 2]
    assert_alike(lines_of(runs / "one" / "run"), kept)


@pytest.mark.parametrize("name", ["divided", "divided-fsdp"])
def test_divided_experts_train_like_whole_ones(runs: Path, name: str) -> None:
    assert_alike(lines_of(runs / "even" / "run"), lines_of(runs / name / "run"))
    assert_same_weights(runs / "even", runs / name)


def test_a_process_to_which_no_token_comes_takes_part(runs: Path) -> None:
    one, two = (lines_of(runs / name / "run") for name in ("one-sided-one", "one-sided-divided"))
    assert {tuple(line["experts"][0]["load"]) for line in two if "loss" in line} == {(1.0, 0.0)}
    assert_alike(one, two)
    assert_same_weights(runs / "one-sided-one", runs / "one-sided-divided")


def test_each_process_stores_the_experts_that_it_holds(runs: Path) -> None:
    for name, folder in (("divided", "step-00000003.0"), ("divided-fsdp", "step-00000006.0")):
        checkpoint = runs / name / "run" / "checkpoints" / folder
        found = [ShardReader(checkpoint / f"process-{rank}" / "weights") for rank in (0, 1)]
        experts = "model.layers.1.mlp.experts.gate_up_proj"
        assert [reader.spec(experts).shape for reader in found] == [(2, 128, 32)] * 2
        moments = [ShardReader(checkpoint / f"process-{rank}" / "optimizer") for rank in (0, 1)]
        assert [reader.spec(f"{experts}::momentum").shape for reader in moments] == [(2, 128, 32)] * 2
        router = "model.layers.1.mlp.gate.weight"
        assert [router in reader.names for reader in found] == [True, name == "divided-fsdp"]


@pytest.mark.parametrize("name", ["stored", "lora"])
def test_a_stored_model_is_continued_by_two_processes_like_by_one(runs: Path, name: str) -> None:
    one, two = lines_of(runs / f"{name}-one" / "run"), lines_of(runs / f"{name}-fsdp" / "run")
    assert_alike(one, [line for line in two if "loss" in line or line["step"] == 2])
    assert_same_weights(runs / f"{name}-one", runs / f"{name}-fsdp")


def test_no_process_holds_more_than_its_part_and_one_file(runs: Path) -> None:
    largest = max(path.stat().st_size for path in (runs / "model").glob("*.safetensors"))
    assert largest < 2 * SHARD_BYTES
    whole = sum(path.stat().st_size for path in (runs / "model").glob("*.safetensors"))
    checkpoint = runs / "stored-fsdp" / "run" / "checkpoints" / "step-00000002.0"
    for rank in (0, 1):
        measured = json.loads((runs / "stored-fsdp" / f"memory-{rank}.json").read_text())
        part, moments = (_stored_bytes(checkpoint / f"process-{rank}" / group) for group in ("weights", "optimizer"))
        assert 0.8 * part < measured["runner"] < part + largest < 0.8 * whole
        assert 0.8 * moments < measured["resume"] < moments + largest


def test_low_rank_updates_are_put_on_a_part(runs: Path) -> None:
    largest = max(path.stat().st_size for path in (runs / "model").glob("*.safetensors"))
    checkpoint = runs / "lora-fsdp" / "run" / "checkpoints" / "step-00000002.0"
    readers = [ShardReader(checkpoint / f"process-{rank}" / "weights") for rank in (0, 1)]
    sizes = [{name: reader.spec(name).num_bytes for name in reader.names} for reader in readers]
    updates = sum(size for part in sizes for name, size in part.items() if "lora_" in name)
    whole = sum(map(sum, (part.values() for part in sizes)))
    # FSDP pads the shorter part to the longer one; updates are drawn whole.
    bound = max(sum(part.values()) for part in sizes) + updates + largest
    assert bound < 0.9 * whole
    for rank in (0, 1):
        assert json.loads((runs / "lora-fsdp" / f"memory-{rank}.json").read_text())["runner"] < bound


def test_a_new_model_is_drawn_module_by_module(runs: Path) -> None:
    measured = json.loads((runs / "fsdp" / "memory-0.json").read_text())
    part = _stored_bytes(runs / "fsdp" / "run" / "checkpoints" / "step-00000006.0" / "process-0" / "weights")
    experts = 4 * 3 * 64 * 32 * 4  # the largest module: four experts of three matrices
    assert 0.8 * part < measured["runner"] < part + 1.25 * experts


def _stored_bytes(folder: Path) -> int:
    reader = ShardReader(folder)
    return sum(reader.spec(name).num_bytes for name in reader.names)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["distributed.expert_parallel=2"], r"expert_parallel=2 with 1 process\(es\): set it to 1"),
        (["distributed.expert_parallel=0"], "expert_parallel=0 must be 1"),
        (
            ["distributed.expert_parallel=2", "distributed.strategy=fsdp", "distributed.cpu_offload=true"],
            "cpu_offload=true cannot move experts",
        ),
        (["distributed.expert_parallel=2", "optimizer.kind=adamw8bit"], "cannot step on shards"),
        ([FSDP, "optimizer.kind=adamw8bit"], "cannot step on shards"),
    ],
)
def test_what_cannot_be_divided_is_refused(tmp_path: Path, settings: list[str], said: str) -> None:
    with one_thread(), pytest.raises(RecipeError, match=said):
        run(tmp_path, *settings)


def test_experts_that_do_not_divide_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"does not divide the 3 experts .* divides each of \[3, 4\]"):
        check_expert_parallel(tiny_model((3, 4)), 2, 2)
    with pytest.raises(RecipeError, match="the model is dense"):
        check_expert_parallel(tiny_model((0, 0)), 2, 2)
    with pytest.raises(RecipeError, match=r"expert_parallel=2 with 4 process\(es\): set it to 4"):
        check_expert_parallel(tiny_model((4, 4)), 2, 4)
    check_expert_parallel(tiny_model((4, 2)), 2, 2)


def test_rows_that_cannot_be_shared_are_refused(tmp_path: Path) -> None:
    with one_thread(), pytest.raises(RecipeError, match="4 rows of a batch cannot be shared evenly by 3 processes"):
        run(tmp_path, processes=Processes(rank=0, size=3))
