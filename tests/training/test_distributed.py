"""Two processes train like one, with DDP and with FSDP2, and take up each other's runs.

One interpreter loads what is needed and forks all processes, since loading takes longer than all of the runs.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from moesaic.errors import RecipeError
from moesaic.model.plain import load_plain
from moesaic.training.processes import Processes
from tests.repository import ROOT
from tests.training.tiny_run import lines_of, one_thread, run, write_corpus

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
]

FORKED = """
import json, os, socket, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from moesaic.training.pretraining import pretrain
from moesaic.training.processes import joined_processes
from tests.training.tiny_run import tiny_recipe

def forked(rank, size, port, folder, settings, resume):
    child = os.fork()
    if child:
        return child
    if size > 1:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(port))
    with joined_processes() as processes:
        assert (processes.rank, processes.size) == (rank, size)
        pretrain(tiny_recipe(folder, *settings), processes=processes, resume=resume)
    os._exit(0)

for folder, size, settings, resume in json.loads(sys.argv[1]):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    tiny_recipe(Path(folder))  # its files are written once, before the processes read them
    children = [forked(rank, size, port, Path(folder), settings, resume) for rank in range(size)]
    for child in children:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, (folder, size)
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs `one`, `ddp`, `fsdp` and `mixed`, each of which ended in an artifact."""
    root = tmp_path_factory.mktemp("distributed")
    text = write_corpus(root, characters=500, seed=8)

    def part(name: str, size: int, *more: str, resume: str = "auto") -> list[Any]:
        artifact = f"output.folder={root / name / 'artifact'}"
        settings = [*SETTINGS, f"evaluation.sets.text={text}", "output.dtype=float32", artifact, *more]
        return [str(root / name), size, settings, resume]

    fsdp, ddp = "distributed.strategy=fsdp", "distributed.strategy=ddp"
    short = f"output.folder={root / 'short'}", "output.overwrite=true"
    plan = [
        part("one", 1),
        part("ddp", 2, ddp),
        part("fsdp", 2, fsdp),
        # Shards of two processes, taken up by one, and by two again with DDP.
        part("mixed", 2, fsdp, "run.steps=2", *short),
        part("mixed", 1, "run.steps=4", *short, resume="changed"),
        part("mixed", 2, ddp, resume="changed"),
    ]
    done = subprocess.run(
        [sys.executable, "-c", FORKED, json.dumps(plan)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return root


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
    expected = load_plain(runs / "one" / "artifact").state_dict()
    found = load_plain(runs / strategy / "artifact").state_dict()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-4, rtol=1e-3)


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


def test_rows_that_cannot_be_shared_are_refused(tmp_path: Path) -> None:

    with one_thread(), pytest.raises(RecipeError, match="4 rows of a batch cannot be shared evenly by 3 processes"):
        run(tmp_path, processes=Processes(rank=0, size=3))
