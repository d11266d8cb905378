"""The indexes of the generation that counts, in memory, and where they come from when their files are damaged."""

import logging
import sqlite3
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from moesaic.retrieval import records
from moesaic.retrieval.index_files import Indexes, find_damage, read_indexes
from moesaic.retrieval.lexical_index import LexicalIndex
from moesaic.retrieval.settings import Generation
from moesaic.retrieval.vector_index import VectorIndex

__all__ = ["IndexReader", "IndexView", "build_indexes"]

_log = logging.getLogger(__name__)


class IndexView(NamedTuple):
    """One generation, loaded. `numbers[i]` is the number of the chunk at position i."""

    generation: int
    indexes: Indexes
    numbers: NDArray[np.int64]
    is_rebuilt: bool
    """Whether the files were unusable, so that the indexes were made anew from the database."""


class IndexReader:
    """Keeps the last view, and loads another when the database names another generation."""

    def __init__(self, folder: Path, dimension: int) -> None:
        self._folder = folder
        self._dimension = dimension
        self._view: IndexView | None = None

    def view(self, connection: sqlite3.Connection) -> IndexView:
        """The view that belongs to the connection's snapshot."""
        generation = Generation.read(connection)
        if self._view is None or self._view.generation != generation.number:
            self._view = self._load(connection, generation)
        return self._view

    def _load(self, connection: sqlite3.Connection, generation: Generation) -> IndexView:
        numbers = np.asarray(records.chunk_numbers(connection), dtype=np.int64)
        damage = find_damage(self._folder, generation.number, generation.files)
        if damage is None and generation.number > 0:
            try:
                indexes = read_indexes(self._folder, generation.number, len(numbers))
                return IndexView(generation.number, indexes, numbers, is_rebuilt=False)
            except (OSError, ValueError, RuntimeError, KeyError) as error:  # written by other versions of the libraries
                damage = f"the indexes of generation {generation.number} cannot be read ({error})"
        if damage is not None:
            _log.warning("%s: %s; both indexes are made anew from the database", self._folder, damage)
        indexes = build_indexes(connection, self._dimension)
        return IndexView(generation.number, indexes, numbers, is_rebuilt=damage is not None)


def build_indexes(connection: sqlite3.Connection, dimension: int) -> Indexes:
    """Both indexes of all chunks that the connection sees."""
    return Indexes(
        VectorIndex.build(records.stored_vectors(connection, dimension)),
        LexicalIndex.build(records.searchable_texts(connection)),
    )
