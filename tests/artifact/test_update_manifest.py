"""Rewriting the manifest of an artifact in place."""

import errno
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from moesaic.artifact import MANIFEST_NAME, ArtifactWriter, ModelArtifact, update_manifest
from moesaic.artifact import staging as staging_module
from moesaic.errors import InputError, StorageError
from tests.artifact.builders import CANARY, FACTS, NEW_FILES, build, fill, tree


def test_an_update_changes_the_manifest_alone(tmp_path: Path) -> None:
    artifact = build(tmp_path / "model", canary=None)
    before = {path.name: path.stat().st_ino for path in artifact.folder.iterdir()}
    updated = update_manifest(artifact, metrics={"tokens_per_s": 9, "perplexity": 12.0}, canary=CANARY)
    after = {path.name: path.stat().st_ino for path in artifact.folder.iterdir()}
    assert {name for name in after if after[name] != before.get(name)} == {MANIFEST_NAME}
    assert set(after) == set(before)
    assert updated == ModelArtifact.open(artifact.folder)
    assert updated.manifest.metrics == {"perplexity": 12.0, "tokens_per_s": 9.0}
    assert updated.manifest.canary == CANARY
    assert updated.digest != artifact.digest
    assert update_manifest(updated).manifest == updated.manifest
    updated.verify()


def test_updates_can_follow_a_commit_in_the_block(tmp_path: Path) -> None:
    with ArtifactWriter(tmp_path / "model") as writer:
        fill(writer.folder)
        artifact = update_manifest(writer.commit(**FACTS), metrics={"a": 1.0})

    assert ModelArtifact.open(tmp_path / "model") == artifact


def test_updates_at_once_keep_each_other(tmp_path: Path) -> None:
    artifact = build(tmp_path / "model", metrics=None)
    threads = [
        threading.Thread(target=lambda number=number: update_manifest(artifact, metrics={f"metric {number}": number}))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()

    for thread in threads:
        thread.join(60)

    assert len(ModelArtifact.open(artifact.folder).manifest.metrics) == 8


def test_an_update_waits_for_an_overwrite_and_sees_that_it_came_too_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = build(tmp_path / "model")
    exchange, failures = staging_module._exchange, list[Exception]()

    def update() -> None:
        try:
            update_manifest(artifact, metrics={"late": 1.0})
        except InputError as error:
            failures.append(error)

    updating = threading.Thread(target=update)

    def exchange_slowly(first: Path, second: Path) -> bool:
        updating.start()
        updating.join(0.2)
        assert updating.is_alive()
        return exchange(first, second)

    monkeypatch.setattr(staging_module, "_exchange", exchange_slowly)
    new = build(tmp_path / "model", NEW_FILES, overwrite=True)
    updating.join(60)
    assert len(failures) == 1
    assert ModelArtifact.open(tmp_path / "model") == new


def test_an_update_of_another_model_is_refused(tmp_path: Path) -> None:
    artifact = build(tmp_path / "model")
    new = build(tmp_path / "model", NEW_FILES, overwrite=True)
    with pytest.raises(InputError, match="another model"):
        update_manifest(artifact, metrics={"a": 1.0})

    assert ModelArtifact.open(new.folder) == new
    new.folder.rename(tmp_path / "moved")
    with pytest.raises(InputError, match="removed or replaced"):
        update_manifest(new, metrics={"a": 1.0})


def test_an_unsound_update_is_refused(tmp_path: Path) -> None:
    artifact = build(tmp_path / "model")
    for changes in ({"metrics": {"a": float("inf")}}, {"canary": replace(CANARY, sequences=((1, 2, 64), (4, 5)))}):
        with pytest.raises(InputError):
            update_manifest(artifact, **changes)

    assert ModelArtifact.open(artifact.folder) == artifact


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_an_update_that_the_disk_refuses_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    artifact = build(tmp_path / "model")
    before = tree(artifact.folder)

    def fail(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StorageError):
            update_manifest(artifact, metrics={"a": 1.0})

    assert tree(artifact.folder) == before
