"""Files that are there whole or not at all: written beside their place, seen safely on the disk, then renamed.

The disk's refusals (full, over quota, read-only, forbidden) become `StorageError`.
"""

import errno
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from moesaic.artifact.staging import sync_folder
from moesaic.errors import StorageError

__all__ = ["file_digest", "made_folder", "storage_errors", "written_file", "written_json"]

_REFUSALS = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space, or raise the quota",
    errno.EFBIG: "choose a file system that allows larger files",
    errno.EACCES: "give this user access to it, or choose another folder",
    errno.EPERM: "give this user access to it, or choose another folder",
    errno.EROFS: "choose a folder that may be written",
    errno.ENOTDIR: "choose another folder",
    errno.EEXIST: "choose another folder",
    errno.EIO: "check the disk",
}
_HASHED_BYTES = 1 << 20


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the disk's refusals of what is done to `path` into `StorageError`; other errors pass."""
    try:
        yield
    except OSError as error:
        advice = _REFUSALS.get(error.errno or 0)
        if advice is None:
            raise

        raise StorageError(f"{path} cannot be written ({error.strerror}): {advice}") from error


def made_folder(path: Path) -> Path:
    """Make a folder and those above it; fine if it is there."""
    with storage_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def written_file(path: Path) -> Iterator[IO[bytes]]:
    """A binary file to write into, which becomes `path` when the block ends, and vanishes if it ends by an error."""
    partial = path.with_name(f".{path.name}.partial-{secrets.token_hex(4)}")
    with storage_errors(path):
        try:
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise

        sync_folder(path.parent)


def written_json(path: Path, value: Any) -> None:
    """Write a JSON file."""
    with written_file(path) as file:
        file.write(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True).encode() + b"\n")


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASHED_BYTES):
            digest.update(block)
    return digest.hexdigest()
