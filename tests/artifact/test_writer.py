"""Writing an artifact: whole or not at all, and never over what is not ours."""

import errno
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moesaic.artifact import MANIFEST_NAME, ArtifactWriter, Licence, ModelArtifact
from moesaic.artifact.staging import StagingFolder
from moesaic.errors import InputError
from tests.artifact.builders import CANARY, FACTS, FILES, NEW_FILES, build, fill, names, tree

# ------------------------------------------------------------------------------------------------ the ordinary course


def test_the_target_appears_complete_and_alone(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "模型 1"
    with ArtifactWriter(target) as writer:
        fill(writer.folder)
        assert not target.exists()
        artifact = writer.commit(**FACTS)
        assert ModelArtifact.open(target) == artifact

    assert names(target.parent) == ["模型 1"]
    assert set(tree(target)) == {*FILES, MANIFEST_NAME}
    ModelArtifact.open(target).verify()
    assert artifact.manifest.canary == CANARY
    assert [record.name for record in artifact.manifest.files] == sorted(FILES)


def test_the_same_files_and_facts_give_the_same_artifact(tmp_path: Path) -> None:
    one, other = (
        build(tmp_path / "one"),
        build(tmp_path / "other", {name: FILES[name] for name in sorted(FILES, reverse=True)}),
    )
    assert one.digest == other.digest
    assert tree(one.folder) == tree(other.folder)


def test_all_of_it_is_safely_on_the_disk_before_it_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: set[int] = set()
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.add(os.fstat(descriptor).st_ino))
    before: list[set[int]] = []
    publish = StagingFolder.publish

    def publish_noting(staging: StagingFolder) -> bool:
        before.append(set(synced))
        return publish(staging)

    monkeypatch.setattr(StagingFolder, "publish", publish_noting)
    artifact = build(tmp_path / "model", {**FILES, "sub/a.json": b"{}"})
    assert before == [{path.stat().st_ino for path in (artifact.folder, *artifact.folder.rglob("*"))}]
    assert tmp_path.stat().st_ino in synced


def test_digests_are_those_of_the_contents(tmp_path: Path) -> None:
    for record in build(tmp_path / "model").manifest.files:
        assert record.sha256 == hashlib.sha256(FILES[record.name]).hexdigest()


def test_it_can_be_read_as_other_folders_can(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    build(tmp_path / "model")
    assert (tmp_path / "model").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_hashing_reports_progress(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    build(tmp_path / "model", progress=lambda *step: seen.append(step))
    size = sum(map(len, FILES.values()))
    assert [name for name, _, _ in seen] == sorted(FILES)
    assert seen[-1][1:] == (size, size)


@pytest.mark.parametrize(
    "error", [None, KeyError("mine"), KeyboardInterrupt(), OSError(errno.EIO, "I/O"), InputError("x")]
)
def test_without_a_commit_nothing_stays(tmp_path: Path, error: BaseException | None) -> None:
    def leave() -> None:
        with ArtifactWriter(tmp_path / "model") as writer:
            fill(writer.folder)
            if error is not None:
                raise error

    if error is None:
        leave()
    else:
        with pytest.raises(type(error)) as caught:
            leave()

        assert caught.value is error

    assert names(tmp_path) == []


def test_a_writer_is_used_once_and_in_a_block(tmp_path: Path) -> None:
    writer = ArtifactWriter(tmp_path / "model")
    for use in (lambda: writer.folder, lambda: writer.commit(**FACTS)):
        with pytest.raises(InputError, match="`with` block"):
            use()

    with writer:
        fill(writer.folder)
        writer.commit(**FACTS)
        with pytest.raises(InputError, match="commit once"):
            writer.commit(**FACTS)

    assert names(tmp_path) == ["model"]


# ------------------------------------------------------------------------------------------------ what is there already


@pytest.mark.parametrize("kind", ["artifact", "folder", "empty", "file", "link"])
def test_an_existing_target_is_refused_and_untouched(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "model"
    make: dict[str, Callable[[], object]] = {
        "artifact": lambda: build(target),
        "folder": lambda: fill(target),
        "empty": target.mkdir,
        "file": lambda: target.write_bytes(b"x"),
        "link": lambda: target.symlink_to("absent"),
    }
    make[kind]()
    before = tree(tmp_path)
    with pytest.raises(InputError, match="exists already"), ArtifactWriter(target):
        pytest.fail("the block was entered")

    assert tree(tmp_path) == before
    assert names(tmp_path) == ["model"]


def test_overwriting_replaces_the_artifact_whole_and_last(tmp_path: Path) -> None:
    old = build(tmp_path / "model", {**FILES, "extra.json": b"{}"})
    with ArtifactWriter(old.folder, overwrite=True) as writer:
        fill(writer.folder, NEW_FILES)
        old.verify()
        new = writer.commit(**FACTS)

    new.verify()
    assert set(tree(tmp_path / "model")) == {*NEW_FILES, MANIFEST_NAME}
    assert names(tmp_path) == ["model"]


def test_overwriting_needs_nothing_to_be_there(tmp_path: Path) -> None:
    build(tmp_path / "model", overwrite=True).verify()


def test_a_failure_while_overwriting_keeps_the_old_artifact(tmp_path: Path) -> None:
    old = build(tmp_path / "model")
    with pytest.raises(KeyError):
        build(old.folder, NEW_FILES, overwrite=True, prepare=lambda folder: FILES["absent"])

    with pytest.raises(InputError, match=r"config\.json"):
        build(tmp_path / "model", {"model.safetensors": b"x"}, overwrite=True)

    ModelArtifact.open(old.folder).verify()
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize("manifest", [None, b"", b"{}", b'{"name": "my project"}'])
def test_a_folder_that_is_no_artifact_is_never_overwritten(tmp_path: Path, manifest: bytes | None) -> None:
    fill(tmp_path / "model", {"thesis.txt": b"years of work"} | ({} if manifest is None else {MANIFEST_NAME: manifest}))
    before = tree(tmp_path)
    with pytest.raises(InputError, match="is not a model artifact"):
        build(tmp_path / "model", overwrite=True)

    assert tree(tmp_path) == before


def test_a_link_to_an_artifact_is_not_overwritten(tmp_path: Path) -> None:
    old = build(tmp_path / "model")
    (tmp_path / "current").symlink_to("model")
    with pytest.raises(InputError, match="is not a model artifact"):
        build(tmp_path / "current", NEW_FILES, overwrite=True)

    old.verify()


def test_a_target_that_stops_being_an_artifact_meanwhile_is_kept(tmp_path: Path) -> None:
    old = build(tmp_path / "model")
    manifest = old.folder / MANIFEST_NAME
    with pytest.raises(InputError, match="is not a model artifact"):
        build(old.folder, NEW_FILES, overwrite=True, prepare=lambda _: manifest.rename(old.folder / "mine.txt"))

    assert set(tree(tmp_path)) == {f"model/{name}" for name in (*FILES, "mine.txt")}


@pytest.mark.parametrize("damage", ["truncated weights", "truncated manifest", "later version"])
def test_a_damaged_artifact_can_be_overwritten(tmp_path: Path, damage: str) -> None:
    folder = build(tmp_path / "model").folder
    manifest = folder / MANIFEST_NAME
    if damage == "truncated weights":
        (folder / "model.safetensors").write_bytes(b"")
    elif damage == "truncated manifest":
        manifest.write_bytes(manifest.read_bytes()[:200])
    else:
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format_version": 9}))

    build(folder, NEW_FILES, overwrite=True).verify()


@pytest.mark.parametrize("target", ["", ".", "..", "a/..", "nul\0l"])
def test_a_target_without_a_name_is_refused(tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="name of its own"):
        ArtifactWriter(target)


@pytest.mark.parametrize("target", ["file/model", "file/sub/model", "x" * 250, "loop/model"])
def test_a_target_that_cannot_be_a_folder_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match="give another path"), ArtifactWriter(tmp_path / target):
        pytest.fail("the block was entered")


# ------------------------------------------------------------------------------------------------ what may be committed


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), r"needs a config\.json"),
        (lambda folder: (folder / "shard").symlink_to("model.safetensors"), "links or special files"),
        (lambda folder: (folder / "shards").symlink_to("/tmp"), "links or special files"),
        (lambda folder: os.mkfifo(folder / "pipe"), "links or special files"),
        (lambda folder: (folder / MANIFEST_NAME).write_text("{}"), "is refused"),
        (lambda folder: (folder / "new\nline").write_text(""), "is refused"),
        (lambda folder: (folder / "back\\slash").write_text(""), "is refused"),
        (lambda folder: (folder / os.fsdecode(b"latin\xe9")).write_text(""), "valid Unicode"),
        (lambda folder: (folder / "LICENSE-base.txt").unlink(), "licence file"),
    ],
)
def test_unusable_files_are_refused(tmp_path: Path, spoil: Callable[[Path], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(tmp_path / "model", prepare=spoil)

    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"metrics": {"perplexity": float("nan")}},
        {"metrics": {"perplexity": object()}},
        {"architecture": None},
        {"licence": Licence(name=None, file="absent.txt")},
        {"canary": replace(CANARY, sequences=((1, 2, 64), (4, 5)))},
    ],
)
def test_unsound_facts_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        build(tmp_path / "model", **changes)

    assert names(tmp_path) == []
