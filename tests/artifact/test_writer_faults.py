"""Crashes at any point of a build, and disks that refuse."""

import errno
import os
from pathlib import Path

import pytest

from moesaic.artifact import ArtifactWriter, ModelArtifact
from moesaic.errors import StorageError
from tests.artifact.builders import FILES, NEW_FILES, build, names, run_python

HANG = """if True:
    import sys
    from pathlib import Path
    from moesaic.artifact import ArtifactWriter
    from tests.artifact.builders import fill
    with ArtifactWriter(Path(sys.argv[1]), overwrite=True) as writer:
        fill(writer.folder, {"config.json": b"half"})
        print(writer.folder, flush=True)
        sys.stdin.readline()
"""


def test_a_killed_writer_leaves_the_target_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    target = tmp_path / "model"
    old = build(target)
    process = run_python(HANG, target)
    assert process.stdout is not None
    partial = Path(process.stdout.readline().strip())
    with ArtifactWriter(target, overwrite=True):  # the other one lives, so its folder is not a leftover
        assert partial.is_dir()

    process.kill()
    process.communicate(timeout=240)
    assert partial.is_dir()
    ModelArtifact.open(target).verify()
    assert ModelArtifact.open(target) == old
    build(target, NEW_FILES, overwrite=True).verify()
    assert names(tmp_path) == ["model"]


CRASH = """if True:
    import os, signal, sys
    from pathlib import Path
    from moesaic.artifact import staging, writer
    from tests.artifact.builders import FILES, build
    def die(*_, **__):
        os.kill(os.getpid(), signal.SIGKILL)
    point, exchange = sys.argv[2], staging._exchange
    if point == "hashed":
        writer._replace_manifest = die
    elif point == "manifest":
        staging._exchange = die
    elif point == "exchanged":
        staging._exchange = lambda first, second: exchange(first, second) and die()
    elif point == "in steps":
        staging._exchange = lambda first, second: False
        staging.sync_folder = die
    build(Path(sys.argv[1]), {**FILES, "model.safetensors": b"new weights"}, overwrite=True)
"""


@pytest.mark.parametrize(
    ("point", "weights"), [("hashed", "old"), ("manifest", "old"), ("exchanged", "new"), ("in steps", "new")]
)
def test_a_crash_anywhere_in_the_commit_leaves_one_whole_artifact(tmp_path: Path, point: str, weights: str) -> None:
    target = tmp_path / "model"
    build(target)
    process = run_python(CRASH, target, point)
    process.communicate(timeout=240)
    assert process.returncode == -9
    artifact = ModelArtifact.open(target)
    artifact.verify()
    assert (artifact.path("model.safetensors").read_bytes() == b"new weights") == (weights == "new")
    assert len(names(tmp_path)) == 2
    build(target, overwrite=True).verify()
    assert names(tmp_path) == ["model"]


LIMITED = """if True:
    import resource, sys
    from pathlib import Path
    from moesaic.errors import StorageError
    from tests.artifact.builders import FILES, build
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
    try:
        build(Path(sys.argv[1]), {**FILES, "model.safetensors": bytes(1 << 20)}, overwrite=True)
    except StorageError as error:
        print(error)
"""


def test_a_file_that_outgrows_the_limit_keeps_the_old_artifact(tmp_path: Path) -> None:
    target = tmp_path / "model"
    old = build(target)
    output = run_python(LIMITED, target, 1 << 16).communicate(timeout=240)[0]
    assert f"no room for {target} (File too large) after 65,5" in output  # 64 KiB of weights, and the configuration
    assert "choose a folder on another disk" in output
    old.verify()
    assert names(tmp_path) == ["model"]


def test_a_full_disk_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"No space left on device.* bytes free in") as caught:
        build(tmp_path / "model", prepare=lambda _: Path("/dev/full").write_bytes(b"weights"))

    assert isinstance(caught.value.__cause__, OSError)
    assert f"after {sum(map(len, FILES.values())):,} bytes" in str(caught.value)
    assert names(tmp_path) == []


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_disk_that_is_full_at_the_commit_keeps_the_old_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    old = build(tmp_path / "model")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(StorageError, match="No space left"):
            build(tmp_path / "model", NEW_FILES, overwrite=True)

    old.verify()
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        PermissionError(errno.EACCES, "Permission denied", "/data/x"),
        PermissionError(errno.EPERM, "Operation not permitted", "/data/x"),
        OSError(errno.EROFS, "Read-only file system", "/data/x"),
        RuntimeError("while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_refusals_of_the_disk_are_storage_errors(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(StorageError) as caught, ArtifactWriter(tmp_path / "model"):
        raise error

    assert caught.value.__cause__ is error
    assert "choose" in str(caught.value)
    assert ("/data/x" if getattr(error, "filename", None) else str(tmp_path / "model")) in str(caught.value)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "error",
    [FileNotFoundError(errno.ENOENT, "No such file", "base"), RuntimeError("No such file (os error 2)"), OSError()],
)
def test_other_errors_pass_unchanged(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as caught, ArtifactWriter(tmp_path / "model"):
        raise error

    assert caught.value is error


def test_a_storage_error_from_within_is_not_wrapped_again(tmp_path: Path) -> None:
    error = StorageError("mine")
    with pytest.raises(StorageError) as caught, ArtifactWriter(tmp_path / "model"):
        raise error

    assert caught.value is error


def test_a_place_that_may_not_be_written_is_refused_on_entry() -> None:
    # The kernel's own folder: nobody may make folders there, root included.
    with pytest.raises(StorageError, match="no access to /sys/moesaic"), ArtifactWriter(Path("/sys/moesaic/model")):
        pytest.fail("the block was entered")
