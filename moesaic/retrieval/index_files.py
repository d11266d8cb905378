"""The two indexes of a knowledge base as files: one folder for each generation, written whole and never changed.

    index-7/vectors.faiss
    index-7/lexical/...

The database names the generation that counts, with size and digest of each file, so that a folder that was written but
never committed is nobody's, and a file that was truncated or altered is noticed before it is parsed.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from moesaic.artifact.staging import sync_folder
from moesaic.errors import StorageError
from moesaic.retrieval.lexical_index import LexicalIndex
from moesaic.retrieval.vector_index import VectorIndex

__all__ = ["FileDigests", "Indexes", "find_damage", "read_indexes", "remove_other_generations", "write_indexes"]

FileDigests = Mapping[str, str]
"""sha256 of each file, by its path within the generation's folder."""

_FOLDER = re.compile(r"index-\d+")
_VECTORS = "vectors.faiss"
_LEXICAL = "lexical"


class Indexes(NamedTuple):
    """Both indexes over the same chunks, in the same order."""

    vectors: VectorIndex
    lexical: LexicalIndex


def write_indexes(folder: Path, generation: int, indexes: Indexes) -> FileDigests:
    """Write both indexes as a generation, safely on the disk.

    Raises:
        StorageError: the disk is full or may not be written.
    """
    target = folder / f"index-{generation}"
    try:
        if target.exists():  # left by a writer that did not live to commit it
            shutil.rmtree(target)
        target.mkdir()
        indexes.vectors.save(target / _VECTORS)
        indexes.lexical.save(target / _LEXICAL)
        digests = {}
        for path in sorted(path for path in target.rglob("*") if path.is_file()):
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
            digests[path.relative_to(target).as_posix()] = _digest(path)
        for inner in (target / _LEXICAL, target, folder):
            sync_folder(inner)
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)
        raise StorageError(
            f"the indexes cannot be written to {target} ({error.strerror or error}): free some space, or give this "
            "user access; the knowledge base is as it was"
        ) from error
    return digests


def find_damage(folder: Path, generation: int, digests: FileDigests) -> str | None:
    """What is wrong with the files of a generation, in words, or None."""
    for name, expected in digests.items():
        path = folder / f"index-{generation}" / name
        try:
            if _digest(path) != expected:
                return f"{path} was truncated or altered"
        except OSError as error:
            return f"{path} cannot be read ({error.strerror})"
    return None


def read_indexes(folder: Path, generation: int, size: int) -> Indexes:
    """Load a generation of `size` chunks whose files were found sound."""
    source = folder / f"index-{generation}"
    return Indexes(VectorIndex.load(source / _VECTORS, size), LexicalIndex.load(source / _LEXICAL, size))


def remove_other_generations(folder: Path, generation: int) -> None:
    """Remove what older generations, and writers that did not commit, left behind."""
    for path in folder.iterdir():
        if _FOLDER.fullmatch(path.name) and path.name != f"index-{generation}":
            shutil.rmtree(path, ignore_errors=True)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
