"""What `moesaic doctor` says of imagined machines, of this one, and of artifacts sound and unsound."""

import dataclasses
import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from packaging.requirements import Requirement
from typer.testing import CliRunner, Result

from moesaic.cli import doctor as command
from moesaic.errors import MissingDependencyError
from moesaic.server.engine import hardware
from moesaic.server.engine.hardware import Machine
from moesaic.server.engine.materialize import cached_copies, default_cache_folder
from tests.artifact.builders import ARCHITECTURE, build
from tests.server.engine.machines import MACHINES, PACKAGES, machine

app = typer.Typer()
app.command()(command.doctor)


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the doctor see another machine."""

    def see(described: Machine) -> None:
        monkeypatch.setattr(Machine, "detect", classmethod(lambda cls: described))

    return see


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def report(*arguments: str | Path) -> dict[str, Any]:
    result = run(*arguments, "--json")
    found: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == (0 if found["possible"] else 1)
    return found


@pytest.mark.parametrize(
    ("kind", "backend", "code"),
    [
        ("zen", "vllm", 0),
        ("avx512", "vllm", 0),
        ("gpu", "vllm", 0),
        ("no vllm", "transformers", 0),
        ("nothing", "none", 1),
    ],
)
def test_the_exit_code_says_whether_it_can_serve(on: Any, kind: str, backend: str, code: int) -> None:
    on(MACHINES[kind])
    result = run()

    assert result.exit_code == code
    assert ("cannot serve" in result.stdout) is (code == 1)
    assert report()["backend"] == backend


def test_the_plans_name_kernels_and_copies(on: Any) -> None:
    on(MACHINES["zen without zentorch"])
    plans = report()["plans"]

    assert plans["mixture int8"]["experts"] == "materialize"
    assert plans["dense int8"]["names"] == ["CPUInt8ScaledMMLinearKernel"]
    assert set(plans) == {f"{kind} {scheme}" for kind in ("dense", "mixture") for scheme in ("bf16", "int8", "int4")}
    assert re.search(r"mixture int8 +│ vllm, as a[ b]", run().stdout)


@pytest.mark.parametrize(
    ("described", "words"),
    [
        (MACHINES["no vllm"], "the extra [cpu] brings the vLLM"),
        (MACHINES["zen without zentorch"], "zentorch brings int8 kernels"),
        (machine(packages=PACKAGES, gpus=MACHINES["gpu"].gpus), "there is a GPU: the extra [gpu]"),
        (machine(packages=PACKAGES | {"vllm": "0.32.0"}), "overwrite each other"),
        (machine(memory_available_bytes=2**30), "only 1.1 GB of memory are free"),
    ],
)
def test_advice_says_what_to_install_or_free(on: Any, described: Machine, words: str) -> None:
    on(described)

    assert any(words in text for text in report()["advice"])
    assert words in " ".join(run().stdout.split())


def test_there_is_nothing_to_advise_on_a_machine_that_has_all(on: Any) -> None:
    on(MACHINES["zen"])

    assert report()["advice"] == []
    assert "→" not in run().stdout


def test_an_artifact_gets_its_plan_and_its_size(on: Any, tmp_path: Path) -> None:
    artifact = build(tmp_path / "moe")
    on(MACHINES["zen"])
    found = report(artifact.folder)["artifact"]

    assert found["digest"] == artifact.digest
    assert found["plan"]["names"][0] == "ZenCPUExpertsInt8"
    assert found["weights_on_disk_bytes"] == found["weights_in_memory_bytes"] == 10240
    assert found["bytes_read_per_token"] == 10240 * 600 // 1000
    assert found["ceiling_tokens_per_s"] is None
    assert "ZenCPUExpertsInt8" in run(artifact.folder).stdout


def test_a_copy_is_counted_at_full_precision(on: Any, tmp_path: Path) -> None:
    artifact = build(tmp_path / "moe", architecture=dataclasses.replace(ARCHITECTURE, hidden_size=64))
    on(MACHINES["zen without zentorch"])
    found = report(artifact.folder)["artifact"]

    assert found["plan"]["experts"] == "materialize"
    assert found["weights_in_memory_bytes"] == 2 * 1000
    assert "as a bf16 copy" in run(artifact.folder).stdout


def test_weights_beyond_the_memory_cannot_be_served(on: Any, tmp_path: Path) -> None:
    artifact = build(tmp_path / "moe")
    on(dataclasses.replace(MACHINES["zen"], memory_available_bytes=10_000))

    assert not report(artifact.folder)["possible"]
    assert report()["possible"]
    assert "cannot serve this artifact" in run(artifact.folder).stdout


@pytest.mark.parametrize("fault", ["absent", "foreign", "truncated"])
def test_an_unusable_artifact_is_a_finding(on: Any, tmp_path: Path, fault: str) -> None:
    folder = tmp_path / "医学 [model]"
    on(MACHINES["zen"])
    if fault == "foreign":
        folder.mkdir()
    elif fault == "truncated":
        build(folder)
        (folder / "model.safetensors").write_bytes(b"short")
    result = run(folder)

    assert result.exit_code == 1
    assert "Error" in report(folder)["artifact"]["error"]
    assert "cannot serve this artifact" in result.stdout
    assert "[model]" in result.stdout


def test_measuring_gives_a_ceiling(on: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = build(tmp_path / "moe")
    on(MACHINES["zen"])
    asked: list[int] = []

    def read_bandwidth(threads: int) -> float:
        asked.append(threads)
        return 61.44e9

    monkeypatch.setattr(hardware, "read_bandwidth", read_bandwidth)
    found = report(artifact.folder, "--measure")

    assert asked == [2]
    assert found["read_bandwidth_bytes_per_s"] == 61.44e9
    assert found["artifact"]["ceiling_tokens_per_s"] == 1e7
    assert "61.4 GB/s" in run("--measure").stdout


def test_measuring_without_torch_names_the_extra(on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    on(MACHINES["nothing"])
    result = run("--measure")

    assert isinstance(result.exception, MissingDependencyError)
    assert "[hf]" in str(result.exception)


def test_the_tiers_of_the_sandbox_are_shown(on: Any) -> None:
    on(MACHINES["zen"])
    tiers = {tier["tier"]: tier["holds"] for tier in report()["sandbox"]["tiers"]}
    assert tiers == {"namespaces": True, "seccomp": True, "monty": True}
    assert "tier namespaces" in run().stdout


def test_the_cache_is_listed(on: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    on(MACHINES["zen"])
    assert report()["cache"] == {"folder": str(tmp_path / "moesaic" / "materialized"), "copies": []}

    copy = build(default_cache_folder() / "abc", quantization=None)
    (entry,) = report()["cache"]["copies"]
    assert entry == {
        "name": "tiny 小模型",
        "folder": str(copy.folder),
        "bytes": cached_copies(default_cache_folder())[0].bytes,
    }
    assert "tiny 小模型" in run().stdout


def test_extras_are_read_from_the_project(on: Any) -> None:
    on(MACHINES["zen"])
    extras = {row["name"]: row for row in report()["extras"]}

    assert extras["dev"]["missing"] == []  # these tests run
    assert extras["cpu"]["in_a_checkout"] == "make install EXTRAS=cpu,dev"
    assert extras["train"]["in_a_checkout"] == "make install EXTRAS=cpu,train,dev"
    assert extras["gpu"]["in_a_checkout"] == "make install-gpu"
    assert extras["gpu"]["elsewhere"] == "uv pip install --torch-backend=auto 'moesaic[gpu]'"
    assert "'moesaic[retrieval]'" in extras["retrieval"]["elsewhere"]


def test_missing_packages_are_followed_through_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    requires = {
        "moesaic": ['moesaic[b] ; extra == "a"', 'one>=2 ; extra == "b"', 'other ; extra == "c"', "always"],
        "one": ['two ; extra == "x"'],
        "three": ['four ; extra == "y"', "five ; sys_platform == 'nowhere'"],
    }
    installed = {"moesaic": "0.1.0", "one": "1.0", "three": "3.0"}

    def version(name: str) -> str:
        if name in installed:
            return installed[name]
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: requires.get(name))

    assert list(command._missing(Requirement("moesaic[a]"))) == ["one>=2 (installed: 1.0)"]
    assert list(command._missing(Requirement("moesaic[c]"))) == ["other"]
    assert list(command._missing(Requirement("one[x]"))) == ["two"]
    assert list(command._missing(Requirement("three[y]"))) == ["four"]
    assert list(command._missing(Requirement("three"))) == []
    assert list(command._missing(Requirement("absent[z]"))) == ["absent"]


def test_this_machine_is_described_without_torch_or_vllm() -> None:
    code = (
        "import sys, json; from moesaic.cli.doctor import diagnose; "
        "found = diagnose(); json.dumps(found); "
        "print(found['possible'], 'torch' in sys.modules, 'vllm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=True)

    assert done.stdout.split() == ["True", "False", "False"]
