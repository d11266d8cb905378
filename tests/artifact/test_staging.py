"""Staging folders: whose they are, who may remove them, and how they take their place."""

import contextlib
import errno
import fcntl
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from moesaic.artifact import staging as staging_module
from moesaic.artifact.staging import StagingFolder, lock_folder, unlock_folder
from tests.artifact.builders import tree


def leftover(target: Path, pid: int = 1, token: str = "0" * 8) -> Path:
    path = target.parent / f".{target.name}.partial-{pid}-{token}"
    (path / "sub").mkdir(parents=True)
    (path / "sub/model.safetensors").write_bytes(b"half")
    return path


def open_below(folder: Path) -> list[str]:
    """What this process holds open at `folder` or below it; threads of other tests may open and close elsewhere."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed by now
            found.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    return [path for path in found if path.startswith(str(folder))]


def test_a_claimed_folder_is_hidden_empty_and_beside_the_target(tmp_path: Path) -> None:
    staging = StagingFolder.claim(tmp_path / "模型")
    assert staging.path.parent == tmp_path
    assert staging.path.name.startswith(f".模型.partial-{os.getpid()}-")
    assert list(staging.path.iterdir()) == []
    staging.discard()
    assert list(tmp_path.iterdir()) == []


def test_leftovers_are_removed_whatever_process_number_they_bear(tmp_path: Path) -> None:
    paths = {leftover(tmp_path / "model", pid, token) for pid, token in ((1, "a" * 8), (os.getpid(), "b" * 8))}
    assert set(StagingFolder.remove_leftovers(tmp_path / "model")) == paths
    assert list(tmp_path.iterdir()) == []


def test_a_living_builder_keeps_its_folder(tmp_path: Path) -> None:
    staging = StagingFolder.claim(tmp_path / "model")
    assert StagingFolder.remove_leftovers(tmp_path / "model") == []
    assert staging.path.is_dir()
    staging.release()
    assert StagingFolder.remove_leftovers(tmp_path / "model") == [staging.path]


def test_what_looks_alike_is_left_alone(tmp_path: Path) -> None:
    kept = [
        leftover(tmp_path / "other"),
        leftover(tmp_path / "model.partial-1-00000000"),
        leftover(tmp_path / "model", token="0" * 9),
        leftover(tmp_path / "model", token="zzzzzzzz"),
    ]
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / ".model.partial-2-00000000"
    link.symlink_to("elsewhere")
    file = tmp_path / ".model.partial-3-00000000"
    file.write_bytes(b"x")
    assert StagingFolder.remove_leftovers(tmp_path / "model") == []
    assert StagingFolder.remove_leftovers(tmp_path / "othe.") == []
    assert all(path.exists() for path in (*kept, link, file, tmp_path / "elsewhere"))


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF])
def test_without_locks_building_works_and_nothing_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    old = leftover(tmp_path / "model")
    assert StagingFolder.remove_leftovers(tmp_path / "model") == []
    assert old.is_dir()
    staging = StagingFolder.claim(tmp_path / "model")
    assert staging.publish()
    staging.discard()
    assert (tmp_path / "model").is_dir()


def test_a_lock_that_fails_otherwise_is_reported_and_closes_its_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = open_below(tmp_path)
    monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "I/O")))
    with pytest.raises(OSError, match="I/O"):
        lock_folder(tmp_path, wait=True)

    assert open_below(tmp_path) == before == []


def test_a_folder_taken_for_a_leftover_before_it_was_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Path] = []

    def lock_late(path: Path, *, wait: bool, required: bool = False) -> int | None:
        if len(taken) < 2:
            taken.append(path)
            shutil.rmtree(path)

        return lock_folder(path, wait=wait, required=required)

    monkeypatch.setattr(staging_module, "lock_folder", lock_late)
    staging = StagingFolder.claim(tmp_path / "model")
    assert staging.path.is_dir()
    assert staging.path not in taken
    staging.discard()


def test_a_lock_is_held_until_it_is_dropped(tmp_path: Path) -> None:
    lock = lock_folder(tmp_path, wait=False)
    assert lock is not None
    assert lock_folder(tmp_path, wait=False) is None
    unlock_folder(lock)
    again = lock_folder(tmp_path, wait=False)
    assert again is not None
    unlock_folder(again)


def test_a_forked_child_does_not_keep_a_dropped_lock(tmp_path: Path) -> None:
    # In a process of its own: this one may have threads, which do not survive a fork.
    code = """if True:
        import os, sys
        from pathlib import Path
        from moesaic.artifact.staging import lock_folder, unlock_folder
        folder = Path(sys.argv[1])
        lock = lock_folder(folder, wait=False)
        receiver, sender = os.pipe()
        child = os.fork()
        if child == 0:
            os.read(receiver, 1)
            os._exit(0)
        unlock_folder(lock)
        print(lock_folder(folder, wait=False) is not None)
        os.write(sender, b"x")
        os.waitpid(child, 0)
    """
    command = [sys.executable, "-c", code, str(tmp_path)]
    assert subprocess.run(command, capture_output=True, text=True, timeout=240, check=True).stdout == "True\n"


def test_waiting_for_a_folder_that_is_replaced_gives_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    lock = lock_folder(tmp_path / "model", wait=True)
    assert lock is not None
    has_opened, flock = threading.Event(), fcntl.flock

    def noted(descriptor: int, operation: int) -> None:
        has_opened.set()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", noted)
    got: list[int | None] = []
    waiting = threading.Thread(target=lambda: got.append(lock_folder(tmp_path / "model", wait=True)))
    waiting.start()
    assert has_opened.wait(60), "it did not come to the lock"
    waiting.join(0.1)
    assert got == []
    (tmp_path / "model").rename(tmp_path / "old")
    (tmp_path / "model").mkdir()
    unlock_folder(lock)
    waiting.join(60)
    assert got == [None]


def test_publishing_never_hides_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/mine").write_bytes(b"x")
    staging = StagingFolder.claim(tmp_path / "model")
    (staging.path / "new").write_bytes(b"y")
    assert not staging.publish()
    assert tree(tmp_path / "model") == {"mine": b"x"}
    assert tree(staging.path) == {"new": b"y"}
    staging.discard()


@pytest.mark.parametrize("in_steps", [False, True])
def test_publishing_over_leaves_the_new_folder_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_steps: bool
) -> None:
    if in_steps:
        monkeypatch.setattr(staging_module, "_exchange", lambda first, second: False)

    (tmp_path / "model").mkdir()
    (tmp_path / "model/old").write_bytes(b"x")
    staging = StagingFolder.claim(tmp_path / "model")
    (staging.path / "new").write_bytes(b"y")
    staging.publish_over()
    staging.discard()
    assert tree(tmp_path) == {"model/new": b"y"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_this_system_exchanges_in_one_step(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_bytes(name.encode())

    assert staging_module._exchange(tmp_path / "a", tmp_path / "b")
    assert tree(tmp_path) == {"a/b": b"b", "b/a": b"a"}
    with pytest.raises(FileNotFoundError):
        staging_module._exchange(tmp_path / "a", tmp_path / "absent")


def test_an_exchange_in_steps_that_fails_halfway_puts_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging_module, "_exchange", lambda first, second: False)
    (tmp_path / "model").mkdir()
    (tmp_path / "model/old").write_bytes(b"x")
    staging = StagingFolder.claim(tmp_path / "model")
    rename = os.rename

    def fail(source: Path, target: Path) -> None:
        if source == staging.path:
            raise OSError(errno.EIO, "I/O")

        rename(source, target)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(OSError, match="I/O"):
        staging.publish_over()

    assert tree(tmp_path) == {"model/old": b"x"}
    staging.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    before = open_below(tmp_path)
    for _ in range(5):
        leftover(tmp_path / "model")
        StagingFolder.remove_leftovers(tmp_path / "model")
        staging = StagingFolder.claim(tmp_path / "model")
        if not staging.publish():
            staging.publish_over()

        staging.discard()

    assert open_below(tmp_path) == before == []


def test_a_folder_that_cannot_be_synced_where_there_is_no_way_to_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(code: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", lambda descriptor: fail(errno.EINVAL))
    staging_module.sync_folder(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda descriptor: fail(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        staging_module.sync_folder(tmp_path)
