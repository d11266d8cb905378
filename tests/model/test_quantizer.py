"""A whole pyramid quantized: exactly the intended matrices change, memory stays small, bad weights are refused."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from moesaic.errors import DamagedArtifactError, SchemeError
from moesaic.model.quantized import Scheme, matrices_to_quantize, quantize_int4, quantize_int8
from moesaic.model.quantizer import check_coverage, quantize_weights
from moesaic.model.shards import ShardReader, ShardWriter, TensorSpec
from tests.model.pyramid_checkpoint import pyramid_tensors, save_sharded

UP = "model.layers.1.mlp.experts.4.up_proj.weight"  # slot E of the first mixture layer


def saved(folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
    folder.mkdir()
    save_sharded(folder, tensors)
    return folder


def quantized(source: Path, target: Path, scheme: Scheme, **options: int) -> dict[str, torch.Tensor]:
    """Quantize a folder into another; return what the reference implementation of safetensors finds there."""
    target.mkdir()
    with ShardReader(source) as reader, ShardWriter(target, **options) as writer:
        quantize_weights(reader, writer, scheme)
    found: dict[str, torch.Tensor] = {}
    for path in target.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            found |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    return found


def same_bytes(left: torch.Tensor, right: torch.Tensor) -> bool:
    return left.dtype == right.dtype and torch.equal(left.view(torch.uint8), right.view(torch.uint8))


@pytest.mark.parametrize("max_shard_bytes", [2**32, 30_000])
@pytest.mark.parametrize("scheme", Scheme)
def test_exactly_the_intended_matrices_change(tmp_path: Path, scheme: Scheme, max_shard_bytes: int) -> None:
    before = pyramid_tensors()
    found = quantized(saved(tmp_path / "in", before), tmp_path / "out", scheme, max_shard_bytes=max_shard_bytes)
    matrices = matrices_to_quantize(scheme, before)
    for matrix in matrices:
        weight = before.pop(f"{matrix}.weight")
        if scheme is Scheme.INT4:
            expected = dict(zip(("weight_packed", "weight_scale", "weight_shape"), quantize_int4(weight), strict=True))
        else:
            expected = dict(zip(("weight", "weight_scale"), quantize_int8(weight), strict=True))
        for part, tensor in expected.items():
            assert same_bytes(found.pop(f"{matrix}.{part}"), tensor)
    assert found.keys() == before.keys()
    assert all(same_bytes(found[name], tensor) for name, tensor in before.items())


def test_the_report_and_the_progress_count_everything(tmp_path: Path) -> None:
    tensors = pyramid_tensors()
    source = ShardReader(saved(tmp_path / "in", tensors))
    seen: list[tuple[int, int]] = []
    (tmp_path / "out").mkdir()
    with ShardWriter(tmp_path / "out") as writer:
        report = quantize_weights(source, writer, Scheme.INT4, progress=lambda done, total: seen.append((done, total)))
    assert (report.format, report.weight_bits, report.activation_bits, report.group_size) == (
        "pack-quantized",
        4,
        None,
        32,
    )
    assert report.matrices == 48
    assert report.parameters == 48 * 64 * 96
    total = sum(tensor.nbytes for tensor in tensors.values())
    assert report.bytes_before == total
    assert (
        report.bytes_after == total - report.parameters * 2 + report.parameters // 2 + report.parameters // 16 + 48 * 16
    )
    assert len(seen) == len(tensors)
    assert seen[-1] == (total, total)
    assert seen == sorted(seen)


def test_the_result_does_not_depend_on_the_shards_of_the_source(tmp_path: Path) -> None:
    tensors = pyramid_tensors()
    for name, shards in (("a", 1), ("b", 5)):
        (tmp_path / name).mkdir()
        save_sharded(tmp_path / name, tensors, shards)
        quantized(tmp_path / name, tmp_path / f"{name}-out", Scheme.INT8)
    one, five = (tmp_path / f"{name}-out" / "model.safetensors" for name in ("a", "b"))
    assert one.read_bytes() == five.read_bytes()


@pytest.mark.parametrize("scheme", Scheme)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_non_finite_weights_are_refused_by_name_and_nothing_is_left(tmp_path: Path, scheme: Scheme, bad: float) -> None:
    tensors = pyramid_tensors()
    tensors[UP][7, 8] = bad
    source = saved(tmp_path / "in", tensors)
    with pytest.raises(SchemeError, match=f"{UP}: has NaN or infinite"):
        quantized(source, tmp_path / "out", scheme)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("scheme", "weight", "message"),
    [
        (Scheme.INT4, torch.ones(8, 48), "48 inputs are no multiple of group_size=32"),
        (Scheme.INT8, torch.ones(8, 48, dtype=torch.int32), "torch.int32 of shape"),
        (Scheme.INT8, torch.ones(2, 8, 48), "cannot be quantized"),
        (Scheme.INT8_EXPERTS, torch.ones(0, 48), "cannot be quantized"),
    ],
)
def test_unsuitable_matrices_are_refused_before_anything_is_written(
    tmp_path: Path, scheme: Scheme, weight: torch.Tensor, message: str
) -> None:
    reader = ShardReader(saved(tmp_path / "in", pyramid_tensors() | {UP: weight}))
    (tmp_path / "out").mkdir()
    writer = ShardWriter(tmp_path / "out")
    with pytest.raises(SchemeError, match=f"{UP}: .*{message}"):
        quantize_weights(reader, writer, scheme)
    assert not writer.specs
    assert not list((tmp_path / "out").iterdir())


def test_a_quantized_source_is_refused(tmp_path: Path) -> None:
    source = saved(tmp_path / "in", pyramid_tensors())
    quantized(source, tmp_path / "once", Scheme.INT8)
    with pytest.raises(SchemeError, match="quantized already"):
        quantized(tmp_path / "once", tmp_path / "twice", Scheme.INT8)


def test_a_shard_that_is_cut_while_we_read_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    source = saved(tmp_path / "in", pyramid_tensors())
    (tmp_path / "out").mkdir()
    with pytest.raises(DamagedArtifactError, match="model-00003-of-00003"), ShardReader(source) as reader:  # noqa: PT012
        (source / "model-00003-of-00003.safetensors").write_bytes(b"")
        with ShardWriter(tmp_path / "out") as writer:
            quantize_weights(reader, writer, Scheme.INT8)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("fault", ["skipped matrix", "quantized norm", "lost tensor", "extra tensor", "wrong scale"])
def test_the_coverage_check_sees_every_fault(tmp_path: Path, fault: str) -> None:
    before = {name: TensorSpec(tensor.dtype, tuple(tensor.shape)) for name, tensor in pyramid_tensors().items()}
    found = quantized(saved(tmp_path / "in", pyramid_tensors()), tmp_path / "out", Scheme.INT8)
    after = {name: TensorSpec(tensor.dtype, tuple(tensor.shape)) for name, tensor in found.items()}
    check_coverage(before, after, Scheme.INT8)
    scale = UP.replace(".weight", ".weight_scale")
    if fault == "skipped matrix":
        after[UP] = before[UP]
        del after[scale]
    elif fault == "quantized norm":
        after["model.norm.weight"] = TensorSpec(torch.int8, (64,))
    elif fault == "lost tensor":
        del after["model.layers.1.mlp.gate.bias"]
    elif fault == "extra tensor":
        after["model.layers.1.mlp.gate.weight_scale"] = TensorSpec(torch.bfloat16, (6, 1))
    else:
        after[scale] = TensorSpec(torch.bfloat16, (96, 2))
    with pytest.raises(SchemeError, match="scheme='int8' should give"):
        check_coverage(before, after, Scheme.INT8)


MEMORY_PROGRAM = """
import re, sys
from pathlib import Path
import torch
from moesaic.model.quantized import Scheme
from moesaic.model.quantizer import quantize_weights
from moesaic.model.shards import ShardReader, ShardWriter

def resident_mb(field):
    return int(re.search(field + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

source, target = map(Path, sys.argv[1:])
block = torch.randn(2048, 3072, generator=torch.Generator().manual_seed(0)).bfloat16()  # 12 MiB
with ShardWriter(source, max_shard_bytes=48 * 2**20) as writer:
    for layer in range(32):
        writer.write(f"model.layers.{layer}.mlp.down_proj.weight", block)
before = resident_mb("VmRSS")
with ShardReader(source) as reader, ShardWriter(target) as writer:
    largest = reader.largest_shard_bytes / 2**20
    quantize_weights(reader, writer, Scheme.INT8)
print(before, resident_mb("VmHWM"), largest, sum(file.stat().st_size for file in source.iterdir()) / 2**20)
"""


def test_memory_does_not_grow_with_the_model() -> None:
    """384 MiB in 48 MiB shards. VmHWM and not ru_maxrss: the latter begins at the size of the process that forked."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in"), Path(folder, "out")
        source.mkdir()
        target.mkdir()
        command = [sys.executable, "-c", MEMORY_PROGRAM, str(source), str(target)]
        output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240).stdout
    before, peak, largest, whole = map(float, output.split())
    assert whole > 380
    assert peak < 1.5 * largest + 1024  # the promise
    assert peak - before < 2 * largest  # what a program that reads the whole model could not meet
