"""A registry: versions come in whole, the current one is turned in one step, and the history says why."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from moesaic.artifact import ModelArtifact, ModelRegistry, RegistryVerb
from moesaic.errors import (
    DamagedArtifactError,
    ForeignArtifactError,
    InputError,
    NotFoundError,
    StorageError,
)
from tests.artifact.builders import build


@pytest.fixture
def artifacts(tmp_path: Path) -> list[ModelArtifact]:
    """Three that differ by name."""
    return [build(tmp_path / f"artifact-{number}", name=f"模型 {number}") for number in range(3)]


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    return ModelRegistry.create(tmp_path / "registry")


def test_what_is_published_is_current(registry: ModelRegistry, artifacts: list[ModelArtifact]) -> None:
    assert (registry.current, registry.versions, registry.history()) == (None, [], [])
    first, second = (registry.publish(artifact, recipe="a.toml") for artifact in artifacts[:2])
    assert registry.current == second
    assert set(registry.versions) == {first, second}
    assert registry.artifact().digest == artifacts[1].digest
    assert registry.artifact(first).manifest.name == "模型 0"
    events = registry.history()
    assert [(event.verb, event.version, event.former) for event in events] == [
        (RegistryVerb.PUBLISHED, first, None),
        (RegistryVerb.PUBLISHED, second, first),
    ]
    assert events[0].facts == {"recipe": "a.toml", "name": "模型 0"}


def test_the_artifact_is_copied(registry: ModelRegistry, artifacts: list[ModelArtifact]) -> None:
    registry.publish(artifacts[0])
    shutil.rmtree(artifacts[0].folder)
    registry.artifact().verify()


def test_publishing_again_makes_no_second_copy(registry: ModelRegistry, artifacts: list[ModelArtifact]) -> None:
    first = registry.publish(artifacts[0])
    registry.publish(artifacts[1])
    assert registry.publish(artifacts[0]) == first == registry.current
    assert len(registry.versions) == 2


def test_rolling_back_goes_to_the_one_before_or_to_the_one_named(
    registry: ModelRegistry, artifacts: list[ModelArtifact]
) -> None:
    first, second, third = (registry.publish(artifact) for artifact in artifacts)
    assert registry.rollback() == second == registry.current
    assert registry.rollback() == third, "what was current before the rollback"
    assert registry.rollback(first[:6], note="bad answers") == first == registry.current
    assert registry.history()[-1].verb is RegistryVerb.ROLLED_BACK
    assert registry.history()[-1].facts == {"note": "bad answers"}


def test_there_is_nothing_before_the_first(registry: ModelRegistry, artifacts: list[ModelArtifact]) -> None:
    registry.publish(artifacts[0])
    with pytest.raises(NotFoundError, match="none before"):
        registry.rollback()


@pytest.mark.parametrize("beginning", ["", "zz", "0123456789abcdef0"])
def test_a_version_that_is_not_there(registry: ModelRegistry, artifacts: list[ModelArtifact], beginning: str) -> None:
    registry.publish(artifacts[0])
    with pytest.raises(NotFoundError, match="versions begin so"):
        registry.artifact(beginning)
    assert registry.current == registry.versions[0]


def test_a_refused_version_is_current_no_more(registry: ModelRegistry, artifacts: list[ModelArtifact]) -> None:
    first, second = (registry.publish(artifact) for artifact in artifacts[:2])
    registry.refuse(second, back_to=first, reason="canary")
    assert registry.current == first
    assert registry.history()[-1].verb is RegistryVerb.REFUSED
    assert registry.history()[-1].facts == {"reason": "canary"}


def test_refusing_leaves_a_later_choice_alone(registry: ModelRegistry, artifacts: list[ModelArtifact]) -> None:
    first, second, third = (registry.publish(artifact) for artifact in artifacts)
    registry.refuse(second, back_to=first, reason="too late")
    assert registry.current == third


def test_a_damaged_artifact_does_not_come_in(registry: ModelRegistry, artifacts: list[ModelArtifact]) -> None:
    kept = registry.publish(artifacts[0])
    weights = artifacts[1].folder / "model.safetensors"
    weights.write_bytes(bytes(len(weights.read_bytes())))
    with pytest.raises(DamagedArtifactError, match="altered"):
        registry.publish(artifacts[1])
    assert (registry.current, registry.versions) == (kept, [kept])
    assert sorted(path.name for path in (registry.folder / "versions").iterdir()) == [kept]


def test_a_version_that_was_damaged_since_is_not_gone_back_to(
    registry: ModelRegistry, artifacts: list[ModelArtifact]
) -> None:
    first, second = (registry.publish(artifact) for artifact in artifacts[:2])
    weights = registry.folder / "versions" / first / "model.safetensors"
    weights.write_bytes(bytes(len(weights.read_bytes())))
    with pytest.raises(DamagedArtifactError):
        registry.rollback()
    assert registry.current == second


def test_a_torn_line_is_no_event_and_is_cut_off(registry: ModelRegistry, artifacts: list[ModelArtifact]) -> None:
    registry.publish(artifacts[0])
    path = registry.folder / "history.jsonl"
    with path.open("ab") as stream:
        stream.write('{"facts": {"reason": "合'.encode()[:-1])
    assert len(registry.history()) == 1
    registry.publish(artifacts[1])
    assert [event.verb for event in registry.history()] == [RegistryVerb.PUBLISHED] * 2


@pytest.mark.parametrize("line", ["x", "{}", '{"verb": "eaten"}', "[]", '{"verb": "served", "more": 1}'])
def test_a_line_that_is_no_event_is_named(registry: ModelRegistry, line: str) -> None:
    (registry.folder / "history.jsonl").write_text(line + "\n")
    with pytest.raises(DamagedArtifactError, match="line 1 is no event"):
        registry.history()


def test_other_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        ModelRegistry.create(tmp_path)
    with pytest.raises(ForeignArtifactError, match="no model registry"):
        ModelRegistry.open(tmp_path)
    (tmp_path / "registry.json").write_text('{"format": 9}')
    with pytest.raises(ForeignArtifactError, match="format 9"):
        ModelRegistry.open(tmp_path)


def test_a_full_disk_leaves_the_former_version(
    registry: ModelRegistry, artifacts: list[ModelArtifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = registry.publish(artifacts[0])

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(StorageError, match="No space left"):
        registry.publish(artifacts[1])
    assert (registry.current, registry.versions) == (kept, [kept])


def test_a_killed_publication_leaves_a_sound_registry(
    registry: ModelRegistry, artifacts: list[ModelArtifact], tmp_path: Path
) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom moesaic.artifact import ModelArtifact, ModelRegistry\n"
        "registry = ModelRegistry.open(Path(sys.argv[1]))\n"
        "while True:\n    for name in sys.argv[2:]:\n        registry.publish(ModelArtifact.open(name))\n"
    )
    folders = [str(artifact.folder) for artifact in artifacts]
    for round_ in range(4):
        process = subprocess.Popen([sys.executable, "-c", program, registry.folder, *folders])
        deadline = time.monotonic() + 60  # a Python has to start first
        seen = len(registry.history())
        while len(registry.history()) < seen + 2 + round_ and time.monotonic() < deadline:
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert len(registry.history()) >= seen + 2
        registry.artifact().verify()
        last = [event for event in registry.history() if event.verb is RegistryVerb.PUBLISHED][-2:]
        assert registry.current in {event.version for event in last}
    whole_lines = (
        (registry.folder / "history.jsonl").read_text().split("\n")[:-1]
    )  # the kill may have torn the last one
    for line in whole_lines:
        json.loads(line)
