"""Full-precision copies: what is in them, and that they are made once, whole, and of sound artifacts only."""

import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor

from moesaic.artifact import ModelArtifact
from moesaic.errors import DamagedArtifactError, InputError, StorageError
from moesaic.model.quantized import Scheme
from moesaic.model.shards import ShardReader
from moesaic.server.engine.materialize import cached_copies, default_cache_folder, materialize
from tests.server.engine.quantized_artifact import build, plain_tensors


def read_all(folder: Path) -> dict[str, Tensor]:
    with ShardReader(folder) as reader:
        return {name: reader.read(name) for name in reader.names}


@pytest.fixture
def artifact(tmp_path: Path) -> ModelArtifact:
    return build(tmp_path / "int8", Scheme.INT8)


@pytest.mark.parametrize(
    ("scheme", "dtype", "error"),
    [
        (Scheme.INT8, "bfloat16", 0.02),
        (Scheme.INT8_EXPERTS, "bfloat16", 0.02),
        (Scheme.INT4, "bfloat16", 0.2),
        (Scheme.INT8, "float32", 0.02),
    ],
)
def test_the_copy_has_the_plain_weights(tmp_path: Path, scheme: Scheme, dtype: str, error: float) -> None:
    quantized = build(tmp_path / "quantized", scheme, dtype=dtype)
    copy = materialize(quantized, tmp_path / "cache")

    expected, found = plain_tensors(), read_all(copy.folder)
    assert set(found) == set(expected)
    changed = set()
    for name, tensor in expected.items():
        if torch.equal(found[name].float(), tensor.float()):
            assert found[name].dtype == tensor.dtype, name
            continue
        changed.add(name)
        assert found[name].dtype == getattr(torch, dtype), name
        relative = (found[name].float() - tensor.float()).norm() / tensor.float().norm()
        assert relative < error, name
    assert changed == {
        name
        for name in expected
        if name.endswith("_proj.weight") and (scheme is Scheme.INT8 or ".self_attn." not in name)
    }
    copy.verify()


def test_the_copy_is_an_artifact_of_its_own(artifact: ModelArtifact, tmp_path: Path) -> None:
    copy = materialize(artifact, tmp_path / "cache")

    assert copy.manifest.quantization is None
    assert copy.manifest.name == "tiny-bfloat16"
    assert copy.manifest.canary == artifact.manifest.canary
    assert copy.manifest.licence == artifact.manifest.licence
    assert copy.manifest.lineage.operation == "materialize"
    assert copy.manifest.lineage.parent == artifact.digest
    assert [step.operation for step in copy.manifest.lineage.ancestors] == ["quantize"]
    assert copy.config() == {key: value for key, value in artifact.config().items() if key != "quantization_config"}
    assert "专家" in copy.path("config.json").read_text(encoding="utf-8")
    for name in ("tokenizer.json", "extra/chat.jinja", "LICENSE-base.txt"):
        assert copy.path(name).read_bytes() == artifact.path(name).read_bytes()


def test_a_second_engine_takes_the_copy_of_the_first(artifact: ModelArtifact, tmp_path: Path) -> None:
    stages: Counter[str] = Counter()
    first = materialize(artifact, tmp_path / "cache", lambda stage, done, total: stages.update([stage]))
    assert set(stages) == {"check", "unpack weights"}

    stages.clear()
    second = materialize(artifact, tmp_path / "cache", lambda stage, done, total: stages.update([stage]))
    assert second == first
    assert not stages
    moved = shutil.copytree(artifact.folder, tmp_path / "elsewhere")
    assert materialize(ModelArtifact.open(moved), tmp_path / "cache") == first


def test_progress_counts_up_to_the_end(artifact: ModelArtifact, tmp_path: Path) -> None:
    seen: dict[str, list[tuple[int, int]]] = {}
    materialize(artifact, tmp_path, lambda stage, done, total: seen.setdefault(stage, []).append((done, total)))

    for steps in seen.values():
        assert [done for done, _ in steps] == sorted(done for done, _ in steps)
        assert steps[-1][0] == steps[-1][1] > 0


@pytest.mark.parametrize("fault", ["truncated", "foreign", "file", "stranger", "link"])
def test_an_unsound_entry_is_made_anew(artifact: ModelArtifact, tmp_path: Path, fault: str) -> None:
    cache = tmp_path / "cache"
    copy = materialize(artifact, cache)
    digest, entry = copy.manifest.files, copy.folder
    if fault == "truncated":
        weights = next(entry.glob("*.safetensors"))
        weights.write_bytes(weights.read_bytes()[:-1])
    else:
        shutil.rmtree(entry)
    if fault == "foreign":
        entry.mkdir()
        (entry / "model.safetensors").write_bytes(b"not ours")
    elif fault == "file":
        entry.write_bytes(b"")
    elif fault == "stranger":
        build(entry, None)
    elif fault == "link":
        entry.symlink_to(tmp_path / "nowhere")

    again = materialize(artifact, cache)
    assert again.manifest.files == digest
    again.verify()


def test_an_altered_source_is_refused_and_nothing_is_kept(artifact: ModelArtifact, tmp_path: Path) -> None:
    weights = next(artifact.folder.glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)

    with pytest.raises(DamagedArtifactError, match=weights.name):
        materialize(artifact, tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_plain_artifact_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not quantized"):
        materialize(build(tmp_path / "plain", None), tmp_path / "cache")


def test_a_full_disk_is_noticed_before_anything_is_written(
    artifact: ModelArtifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    needed = sum(tensor.nbytes for tensor in plain_tensors().values())
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=needed))

    with pytest.raises(StorageError, match=rf"needs \d+ bytes in .*, which has {needed}:") as refusal:
        materialize(artifact, cache)
    assert int(str(refusal.value).split("needs ")[1].split()[0]) >= needed
    assert [path.suffix for path in cache.iterdir()] == [".lock"]

    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=needed + 2**24))
    assert materialize(artifact, cache).folder.parent == cache


def test_a_cache_that_cannot_be_written_is_a_storage_error(artifact: ModelArtifact, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StorageError, match="XDG_CACHE_HOME"):
        materialize(artifact, tmp_path / "file" / "cache")


def test_an_interrupted_build_leaves_nothing(
    artifact: ModelArtifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "unpack weights" and done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        materialize(artifact, tmp_path / "cache", interrupt)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]
    assert cached_copies(tmp_path / "cache") == []
    materialize(artifact, tmp_path / "cache").verify()


def test_of_two_engines_one_builds_and_one_waits(artifact: ModelArtifact, tmp_path: Path) -> None:
    building, waiting = threading.Event(), threading.Event()
    stages: list[Counter[str]] = [Counter(), Counter()]
    copies: list[ModelArtifact] = []

    def first(stage: str, done: int, total: int) -> None:
        stages[0][stage] += 1
        building.set()
        assert waiting.wait(60)  # the other one has arrived while this one builds

    def second(stage: str, done: int, total: int) -> None:
        stages[1][stage] += 1
        waiting.set()

    one = threading.Thread(target=lambda: copies.append(materialize(artifact, tmp_path / "cache", first)))
    two = threading.Thread(target=lambda: copies.append(materialize(artifact, tmp_path / "cache", second)))
    one.start()
    assert building.wait(60)
    two.start()
    one.join(60)
    two.join(60)

    assert len(copies) == 2
    assert copies[0] == copies[1]
    assert set(stages[1]) == {"wait"}
    assert "unpack weights" in stages[0]


def _build_and_die(folder: str, cache: str) -> None:
    def die(stage: str, done: int, total: int) -> None:
        if stage == "unpack weights" and done > 1:
            os._exit(9)

    materialize(ModelArtifact.open(folder), Path(cache), die)


def test_a_killed_build_neither_blocks_nor_leaves_a_copy(artifact: ModelArtifact, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    process = multiprocessing.get_context("spawn").Process(
        target=_build_and_die, args=(str(artifact.folder), str(cache))
    )
    process.start()
    process.join(120)
    assert process.exitcode == 9
    assert cached_copies(cache) == []

    copy = materialize(artifact, cache)
    copy.verify()
    assert sorted(path.name for path in cache.iterdir()) == [copy.folder.name, f"{copy.folder.name}.lock"]


def test_the_cache_is_listed_with_sizes(artifact: ModelArtifact, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert cached_copies(cache) == []
    copy = materialize(artifact, cache)
    (cache / "rubbish").mkdir()

    (entry,) = cached_copies(cache)
    assert entry.name == "tiny-bfloat16"
    assert entry.folder == copy.folder
    files = [path for path in copy.folder.rglob("*") if path.is_file() and path.name != "moesaic.json"]
    assert entry.bytes == sum(path.stat().st_size for path in files)


@pytest.mark.parametrize(
    ("environment", "base"),
    [({}, "~/.cache"), ({"XDG_CACHE_HOME": "/big/disk"}, "/big/disk"), ({"XDG_CACHE_HOME": "relative"}, "~/.cache")],
)
def test_the_default_cache_follows_the_desktop_standard(environment: dict[str, str], base: str) -> None:
    assert default_cache_folder(environment) == Path(base).expanduser() / "moesaic" / "materialized"


def test_the_listing_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from moesaic.server.engine.materialize import cached_copies; "
        f"print(cached_copies(pathlib.Path({str(tmp_path)!r})), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=True)

    assert done.stdout.strip() == "[] False"
