"""Faults planted in a tiny mixture: they change what they say, can be taken back, and the checks see them."""

from pathlib import Path

import pytest
import torch

from benchmarks.planted_faults import check_plainly, detect_faults, exchange_bytes, faults, faulty_layers
from benchmarks.subjects import make_subjects
from moesaic.artifact import ModelArtifact
from moesaic.errors import CanaryError
from moesaic.model import conversion
from moesaic.model.quantized import Scheme
from moesaic.model.safetensors_header import read_header
from moesaic.model.shards import ShardReader
from moesaic.model.upcycling import UpcycleOptions
from tests.model.conftest import write_dense

LAYER, EXPERTS = 3, 8


@pytest.fixture(scope="module")
def perturbed(tmp_path_factory: pytest.TempPathFactory) -> ModelArtifact:
    """Mixtures of 4 and 8 experts that differ, in layers 1 and 3."""
    folder = tmp_path_factory.mktemp("perturbed")
    options = UpcycleOptions(experts=4, experts_last=8, last=1, noise=0.5, coefficient_bias=0.0, router_std=0.2)
    return conversion.upcycle(str(write_dense(folder / "llama", "llama")), folder / "moe", options, dtype="float32")


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    reader = ShardReader(folder)
    return {name: reader.read(name) for name in reader.names}


def test_the_first_the_middle_and_the_last_mixture_are_taken() -> None:
    assert faulty_layers([0, 4, 0, 4, 0, 4, 0, 8, 0, 8]) == [1, 5, 9]
    assert faulty_layers([0, 4, 0, 8]) == [1, 3]


@pytest.mark.parametrize(
    ("number", "changed"),
    [
        (0, {f"experts.{slot}.{matrix}_proj" for slot in (0, 1) for matrix in ("gate", "up", "down")}),
        (1, {"gate"}),
        (2, {"gate"}),
    ],
)
def test_a_fault_changes_what_it_says_and_can_be_taken_back(
    perturbed: ModelArtifact, tmp_path: Path, number: int, changed: set[str]
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes((perturbed.folder / path.name).read_bytes())
    fault = faults(read_header(path), LAYER, EXPERTS)[number]
    sound = tensors(tmp_path)
    exchange_bytes(path, fault.exchanges)
    faulty = tensors(tmp_path)
    prefix = f"model.layers.{LAYER}.mlp."
    different = {name for name, tensor in sound.items() if not torch.equal(tensor, faulty[name])}
    assert {name.removeprefix(prefix).rpartition(".")[0] for name in different} == changed
    if changed == {"gate"}:
        rows = (0, EXPERTS - 1) if number == 1 else (EXPERTS, EXPERTS + 1)
        expected = sound[f"{prefix}gate.weight"].clone()
        expected[list(rows)] = expected[list(rows[::-1])]
        assert torch.equal(faulty[f"{prefix}gate.weight"], expected)
    else:
        assert torch.equal(sound[f"{prefix}experts.0.up_proj.weight"], faulty[f"{prefix}experts.1.up_proj.weight"])
    exchange_bytes(path, fault.exchanges)
    assert path.read_bytes() == (perturbed.folder / path.name).read_bytes()


def test_scales_move_with_the_experts_they_belong_to(perturbed: ModelArtifact, tmp_path: Path) -> None:
    quantized = conversion.quantize(perturbed.folder, tmp_path / "int8", Scheme.INT8)
    path = quantized.folder / "model.safetensors"
    sound = tensors(quantized.folder)
    exchange_bytes(path, faults(read_header(path), LAYER, EXPERTS)[0].exchanges)
    faulty = tensors(quantized.folder)
    for kind in ("weight", "weight_scale"):
        name = f"model.layers.{LAYER}.mlp.experts.{{}}.down_proj.{kind}"
        assert torch.equal(faulty[name.format(0)], sound[name.format(1)])
        assert torch.equal(faulty[name.format(2)], sound[name.format(2)])


def test_the_canary_refuses_every_fault_and_not_the_sound_copy(perturbed: ModelArtifact, tmp_path: Path) -> None:
    results = detect_faults(perturbed, tmp_path, check_plainly, name="PyTorch")
    assert [result.detected for result in results] == [False] + [True] * 6
    assert results[0].layer is None
    assert {result.layer for result in results[1:]} == {1, 3}
    assert all(result.difference > result.threshold for result in results[1:] if result.difference and result.threshold)
    assert list(tmp_path.iterdir()) == []
    perturbed.verify()


def test_a_check_that_sees_nothing_detects_nothing(perturbed: ModelArtifact, tmp_path: Path) -> None:
    seen = []
    results = detect_faults(perturbed, tmp_path, lambda copy: seen.append(copy.folder), name="blind", layers=[3])
    assert [result.detected for result in results] == [False] * 4
    assert len(set(seen)) == 1
    assert seen[0].is_relative_to(tmp_path)


def test_another_failure_than_the_canary_is_not_a_detection(perturbed: ModelArtifact, tmp_path: Path) -> None:
    def broken(copy: ModelArtifact) -> None:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        detect_faults(perturbed, tmp_path, broken, name="broken")
    assert list(tmp_path.iterdir()) == []
    assert issubclass(CanaryError, Exception)


def test_subjects_are_made_once_and_made_anew_when_they_differ(tmp_path: Path) -> None:
    base = str(write_dense(tmp_path / "llama", "llama"))
    stages: list[str] = []
    made = make_subjects(base, tmp_path / "work", lambda name, done, total: stages.append(name))
    assert stages == [*made, "models made"]
    assert made["MoE int8"].manifest.lineage.parent == made["MoE bf16"].digest
    assert {name: artifact.manifest.architecture.dtype for name, artifact in made.items()}[
        "perturbed MoE fp32"
    ] == "float32"
    before = {name: artifact.folder.stat().st_ino for name, artifact in made.items()}
    (made["dense int8"].folder / "config.json").unlink()
    again = make_subjects(base, tmp_path / "work", lambda name, done, total: None)
    remade = {name for name, artifact in again.items() if artifact.folder.stat().st_ino != before[name]}
    assert remade == {"dense int8"}
