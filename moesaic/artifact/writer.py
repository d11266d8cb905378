"""Building a model artifact: all of it appears at once, or nothing does.

- Files are written into a staging folder beside the target, hashed, seen safely on the disk and renamed into place.
  A crash at any point leaves the target as it was.
- The disk's refusals (full, over quota, read-only, forbidden) become one typed error, also when a Rust library
  (tokenizers, safetensors) reports them as text only.
"""

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from moesaic.artifact.canary import Canary
from moesaic.artifact.folder import ModelArtifact, Progress, counted, hash_file, read_manifest
from moesaic.artifact.manifest import (
    MANIFEST_NAME,
    ArchitectureFacts,
    FileRecord,
    Licence,
    Lineage,
    Manifest,
    Quantization,
)
from moesaic.artifact.staging import StagingFolder, lock_folder, sync_folder, unlock_folder
from moesaic.errors import InputError, MoesaicError, StorageError

__all__ = ["ArtifactWriter", "update_manifest"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_UNUSABLE_PATH = {errno.EEXIST, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
_RUST_ERROR = re.compile(r"\(os error (\d+)\)")


class ArtifactWriter:
    """Context manager that builds an artifact at `target`: write into `folder`, then `commit`.

    Leaving the block without a commit, or by an exception, removes everything written. Several writers may build the
    same target at once: the first to commit wins, or with `overwrite` the last.

    Args:
        target: folder to make; its parent folders are made too.
        overwrite: whether to replace an artifact at `target`, whole, once the new one is complete. Anything there that
            is not an artifact is refused all the same.

    Raises:
        InputError: on entry or commit, `target` exists and may not be replaced, or cannot be a folder.
        StorageError: anywhere in the block, the disk is full or may not be written.
    """

    def __init__(self, target: str | Path, *, overwrite: bool = False) -> None:
        given = Path(target)
        if given.name in ("", "..") or "\0" in str(given):
            raise InputError(f"{str(target)!r} cannot name a new folder; give it a name of its own")

        self.target = Path(os.path.realpath(given.parent)) / given.name
        self.overwrite = overwrite
        self._staging: StagingFolder | None = None

    @property
    def folder(self) -> Path:
        """The folder to write into, while the block is open and nothing is committed."""
        return self._open_staging().path

    def __enter__(self) -> Self:
        with _storage_errors(self.target):
            try:
                self._refuse_occupied()
                self.target.parent.mkdir(parents=True, exist_ok=True)
                StagingFolder.remove_leftovers(self.target)
                self._staging = StagingFolder.claim(self.target)
            except OSError as error:
                if error.errno in _UNUSABLE_PATH:
                    raise InputError(f"cannot make a folder at {self.target} ({error}); give another path") from error

                raise

        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failure = _storage_error(error, self.target, self._staging) if isinstance(error, Exception) else None
        if self._staging is not None:
            self._staging.discard()
            self._staging = None

        if failure is not None:
            raise failure from error

    def commit(
        self,
        *,
        name: str,
        architecture: ArchitectureFacts,
        lineage: Lineage,
        licence: Licence,
        quantization: Quantization | None = None,
        metrics: Mapping[str, float] | None = None,
        canary: Canary | None = None,
        progress: Progress | None = None,
    ) -> ModelArtifact:
        """Hash the files, write the manifest, and move the folder to its target.

        Raises:
            InputError: there is no config.json, a link or an unusable file name, the facts contradict each other, or
                another writer was first.
        """
        staging = self._open_staging()
        manifest = Manifest(
            name=name,
            files=_record_files(staging.path, progress),
            architecture=architecture,
            quantization=quantization,
            lineage=lineage,
            licence=licence,
            metrics=metrics or {},
            canary=canary,
        )
        _replace_manifest(staging.path, manifest)
        while not staging.publish():
            self._refuse_occupied()
            try:
                staging.publish_over()
                break
            except FileNotFoundError:  # another writer took the old artifact away meanwhile
                continue

        staging.release()
        self._staging = None
        return ModelArtifact(folder=self.target, manifest=manifest)

    def _open_staging(self) -> StagingFolder:
        if self._staging is None:
            raise InputError(f"the writer of {self.target} is not open: use it in a `with` block, and commit once")

        return self._staging

    def _refuse_occupied(self) -> None:
        if not os.path.lexists(self.target):
            return

        if not self.overwrite:
            raise InputError(f"{self.target} exists already; choose another folder, or ask to overwrite it")

        if not _has_manifest(self.target):
            raise InputError(
                f"{self.target} exists and is not a model artifact (a folder with {MANIFEST_NAME}), so it is not "
                "overwritten; choose another folder, or remove it yourself"
            )


def _has_manifest(folder: Path) -> bool:
    """Whether Moesaic made this folder, however damaged it is by now."""
    manifest = folder / MANIFEST_NAME
    if folder.is_symlink() or manifest.is_symlink() or not manifest.is_file():
        return False

    with manifest.open("rb") as stream:
        return b'"format_version"' in stream.read(4096)


def update_manifest(
    artifact: ModelArtifact, *, metrics: Mapping[str, float] | None = None, canary: Canary | None = None
) -> ModelArtifact:
    """Add metrics, or set the canary, of an artifact on disk; `moesaic.json` alone is rewritten, in one step.

    Args:
        artifact: the artifact; its digest changes with its manifest, so use the returned one from here on.
        metrics: figures to add; one that is there already is replaced.
        canary: the new canary, or None to keep what is there.

    Raises:
        InputError: the folder holds other files than when `artifact` was opened.
        StorageError: the disk is full or may not be written.
    """
    with _storage_errors(artifact.folder):
        lock = lock_folder(artifact.folder, wait=True)
        if lock is None:
            raise InputError(f"{artifact.folder} was removed or replaced since it was opened; open it again")

        try:
            current = read_manifest(artifact.folder)
            if current.files != artifact.manifest.files:
                raise InputError(f"{artifact.folder} holds another model since it was opened; open it again")

            merged = {**current.metrics, **(metrics or {})}
            manifest = replace(current, metrics=merged, canary=canary or current.canary)
            _replace_manifest(artifact.folder, manifest)
        finally:
            unlock_folder(lock)

    return ModelArtifact(folder=artifact.folder, manifest=manifest)


def _record_files(folder: Path, progress: Progress | None) -> tuple[FileRecord, ...]:
    """Hash all files below `folder` and see them, and the folders, safely on the disk."""
    paths = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    irregular = [path.relative_to(folder).as_posix() for path in paths if path.is_symlink() or not path.is_file()]
    if irregular:
        raise InputError(
            f"an artifact holds plain files only, got links or special files: {irregular}; copy their content"
        )

    if folder / "config.json" not in paths:
        raise InputError(f"an artifact needs a config.json, got only {[path.name for path in paths]}; write it first")

    advance = counted(progress, sum(path.stat().st_size for path in paths))
    records = []
    for path in paths:
        name = path.relative_to(folder).as_posix()
        size, digest = hash_file(path, partial(advance, name), sync=True)
        records.append(FileRecord(name=name, bytes=size, sha256=digest))

    for path in (item for item in folder.rglob("*") if item.is_dir()):
        sync_folder(path)

    return tuple(records)


def _replace_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `moesaic.json` by way of a hidden file, so that a reader finds the old text or the new one."""
    text = manifest.to_text().encode()
    draft = folder / f".{MANIFEST_NAME}.{secrets.token_hex(4)}"
    try:
        with draft.open("xb") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())

        draft.replace(folder / MANIFEST_NAME)
    finally:
        draft.unlink(missing_ok=True)

    sync_folder(folder)


@contextmanager
def _storage_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        failure = _storage_error(error, target, None)
        if failure is None:
            raise

        raise failure from error


def _storage_error(error: Exception, target: Path, staging: StagingFolder | None) -> StorageError | None:
    """The StorageError that says what `error` means, or None where the disk is not at fault."""
    if isinstance(error, MoesaicError):
        return None

    rust = _RUST_ERROR.search(str(error))
    code = error.errno if isinstance(error, OSError) else int(rust[1]) if rust else None
    if code is None or code not in _FULL | _FORBIDDEN:
        return None

    reason = os.strerror(code)
    if code in _FORBIDDEN:
        path = getattr(error, "filename", None) or target
        return StorageError(f"no access to {path} ({reason}): give this user access to it, or choose another folder")

    parent = next(folder for folder in target.parents if folder.is_dir())
    written = 0 if staging is None else sum(path.stat().st_size for path in staging.path.rglob("*") if path.is_file())
    return StorageError(
        f"no room for {target} ({reason}) after {written:,} bytes, with {shutil.disk_usage(parent).free:,} bytes free "
        f"in {parent}: free some space or raise the limit, or choose a folder on another disk"
    )
