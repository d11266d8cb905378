"""A staging folder: where an artifact is built, beside its target, until it is published in one step.

- Its name is `.NAME.partial-PID-TOKEN`. Its builder holds a lock on it (`flock`), which the system drops when the
  process ends in whatever way: an unlocked staging folder is a dead builder's, and the next builder of the same target
  removes it. A process number alone would not do: numbers are used again, and containers share folders but not numbers.
- Where a file system has no locks, building works and leftovers stay.
- Publishing over an older artifact exchanges the two folders (Linux `renameat2`), so that readers always find one.
"""

import ctypes
import errno
import fcntl
import logging
import os
import re
import secrets
import shutil
from pathlib import Path
from typing import Self

__all__ = ["StagingFolder", "lock_folder", "sync_folder", "unlock_folder"]

_log = logging.getLogger(__name__)

_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF}
_OCCUPIED = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}
_NO_EXCHANGE = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP}
_NO_SYNC = {errno.EINVAL, errno.EOPNOTSUPP}
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


class StagingFolder:
    """A locked folder beside `target`. Methods raise the system's own OSErrors."""

    def __init__(self, *, path: Path, target: Path, lock: int) -> None:
        self.path = path
        self.target = target
        self._lock = lock

    @classmethod
    def claim(cls, target: Path) -> Self:
        """Make an empty staging folder for `target`; its parent folder must exist."""
        while True:
            path = target.parent / f".{target.name}.partial-{os.getpid()}-{secrets.token_hex(4)}"
            path.mkdir()
            lock = lock_folder(path, wait=False)
            # Another builder may have taken the folder for a leftover before it was locked: then make a new one.
            if lock is not None:
                return cls(path=path, target=target, lock=lock)

    @staticmethod
    def remove_leftovers(target: Path) -> list[Path]:
        """Remove the staging folders that dead builders of the same target left behind."""
        pattern = re.compile(rf"\.{re.escape(target.name)}\.partial-\d+-[0-9a-f]{{8}}")
        with os.scandir(target.parent) as entries:
            paths = [Path(entry) for entry in entries if pattern.fullmatch(entry.name)]

        removed = []
        for path in paths:
            try:
                lock = lock_folder(path, wait=False, required=True)
            except OSError as error:  # another user's folder, or a file system without locks: not ours to judge
                _log.info("left the staging folder %s alone: %s", path, error)
                continue

            if lock is not None:
                _log.info("removing the leftovers of an interrupted build: %s", path)
                shutil.rmtree(path, ignore_errors=True)
                unlock_folder(lock)
                removed.append(path)

        return removed

    def publish(self) -> bool:
        """Move the folder to its target; False, and nothing moved, where something is there already."""
        try:
            os.rename(self.path, self.target)
        except OSError as error:
            if error.errno in _OCCUPIED:
                return False

            raise

        sync_folder(self.target.parent)
        return True

    def publish_over(self) -> None:
        """Take the place of the folder at the target, and remove that folder once this one is safe.

        Raises:
            FileNotFoundError: the folder at the target went, or another came, before this could lock it.
        """
        lock = lock_folder(self.target, wait=True)  # nobody rewrites a manifest while the folders change places
        if lock is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.target))

        try:
            if not _exchange(self.path, self.target):
                _exchange_in_steps(self.path, self.target)
        finally:
            unlock_folder(lock)

        sync_folder(self.target.parent)
        shutil.rmtree(self.path, ignore_errors=True)

    def discard(self) -> None:
        """Remove what is left of the folder, and let go of the lock."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Let go of the lock; the folder is no longer staged."""
        if self._lock >= 0:
            unlock_folder(self._lock)
            self._lock = -1


def lock_folder(path: Path, *, wait: bool, required: bool = False) -> int | None:
    """Lock a folder until the returned descriptor is closed.

    Args:
        path: the folder.
        wait: whether to wait for another holder.
        required: whether a file system without locks is an error, rather than taken as unlocked.

    Returns:
        The descriptor, or None where another process or object holds the lock or the folder has gone.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None

    try:
        # The folder may have been removed, or another put in its place, while this waited.
        if _flock(descriptor, wait=wait, required=required) and _is_at(path, descriptor):
            return descriptor
    except OSError:
        os.close(descriptor)
        raise

    os.close(descriptor)
    return None


def unlock_folder(descriptor: int) -> None:
    """Drop the lock of `lock_folder`, in forked children too, which hold copies of the descriptor."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """See the entries of a folder safely on the disk, where the file system has a way to."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two folders in one step; False where the system or the file system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False

    if rename(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0:
        return True

    code = ctypes.get_errno()
    if code in _NO_EXCHANGE:
        return False

    raise OSError(code, os.strerror(code), str(second))


def _exchange_in_steps(path: Path, target: Path) -> None:
    """As `_exchange`, but a crash in between leaves the old artifact beside the target, and nothing removes it."""
    retired = target.parent / f".{target.name}.old-{secrets.token_hex(4)}"
    os.rename(target, retired)
    try:
        os.rename(path, target)
    except OSError:
        os.rename(retired, target)
        raise

    os.rename(retired, path)


def _flock(descriptor: int, *, wait: bool, required: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if required or error.errno not in _NO_LOCKS:
            raise

    return True


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False
