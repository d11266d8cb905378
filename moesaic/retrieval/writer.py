"""Changing a knowledge base: what is new is embedded, then one transaction makes it count.

The order matters for a crash: vectors (harmless, and kept for the next attempt), index files under a new name
(nobody's yet), the commit of the database (now they count), and only then the removal of the old files.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from moesaic.errors import InputError
from moesaic.retrieval import records
from moesaic.retrieval.chunker import Chunk, chunk_document
from moesaic.retrieval.database import Database
from moesaic.retrieval.document import Document
from moesaic.retrieval.embedder import Embedder
from moesaic.retrieval.index_files import remove_other_generations, write_indexes
from moesaic.retrieval.index_reader import build_indexes
from moesaic.retrieval.settings import Generation, KnowledgeBaseSettings

__all__ = ["AddReport", "Progress", "Writer"]

Progress = Callable[[str, int, int], None]
"""Told now and then of the stage at hand, what is done of it, and its whole."""

_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class AddReport:
    """What adding documents did."""

    added: tuple[str, ...]
    """Ids that were not there before."""
    replaced: tuple[str, ...]
    """Ids whose content changed."""
    unchanged: tuple[str, ...]
    """Ids whose content was there already; they cost nothing."""
    chunks: int
    """Chunks of the documents that were added or replaced."""
    embedded: int
    """Texts whose vectors had to be computed; the others were known."""

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


class _Plan(NamedTuple):
    document: Document
    chunks: list[tuple[Chunk, str]]
    """Chunks with the digests of their vectors."""
    texts: dict[str, str]
    """What is embedded, by digest."""


class Writer:
    """The one writer of a knowledge base; whoever makes it holds the folder's lock."""

    def __init__(self, database: Database, settings: KnowledgeBaseSettings, progress: Progress | None = None) -> None:
        self._database = database
        self._settings = settings
        self._progress = progress or (lambda stage, done, total: None)

    @property
    def _folder(self) -> Path:
        return self._database.folder

    def add(self, documents: Sequence[Document], embedder: Embedder) -> AddReport:
        """Add documents, or replace those of the same id."""
        _refuse_twins(documents)
        with self._database.snapshot() as connection:
            known = records.digests(connection)
        changed = [document for document in documents if known.get(document.id) != document.digest]
        plans = []
        for index, document in enumerate(changed):
            self._progress("divide", index, len(changed))
            plans.append(self._plan(document))
        self._progress("divide", len(changed), len(changed))
        embedded = self._embed(plans, embedder)
        if plans:
            self._commit(plans, [document.id for document in changed if document.id in known])
        return AddReport(
            added=tuple(document.id for document in changed if document.id not in known),
            replaced=tuple(document.id for document in changed if document.id in known),
            unchanged=tuple(document.id for document in documents if known.get(document.id) == document.digest),
            chunks=sum(len(plan.chunks) for plan in plans),
            embedded=embedded,
        )

    def remove(self, ids: Iterable[str]) -> None:
        """Remove documents that are there."""
        self._commit([], list(ids))

    def renew_indexes(self) -> None:
        """Make the index files anew, for documents as they are."""
        self._commit([], [])

    def _plan(self, document: Document) -> _Plan:
        chunks, texts = [], {}
        for chunk in chunk_document(document, self._settings.chunks):
            passage = document.text[chunk.start : chunk.end]
            text = records.vector_text(document.title, chunk.heading_path, passage)
            digest = hashlib.sha256(text.encode()).hexdigest()
            chunks.append((chunk, digest))
            texts[digest] = text
        return _Plan(document, chunks, texts)

    def _embed(self, plans: Sequence[_Plan], embedder: Embedder) -> int:
        """Compute the vectors that are missing, and keep them as they come; how many there were."""
        texts = {digest: text for plan in plans for digest, text in plan.texts.items()}
        with self._database.snapshot() as connection:
            missing = sorted(set(texts) - records.known_vectors(connection, texts), key=lambda key: len(texts[key]))
        for start in range(0, len(missing), _BATCH):
            self._progress("embed", start, len(missing))
            batch = missing[start : start + _BATCH]
            vectors = embedder.embed_documents([texts[digest] for digest in batch])
            with self._database.transaction() as connection:
                records.store_vectors(connection, zip(batch, vectors, strict=True))
        self._progress("embed", len(missing), len(missing))
        return len(missing)

    def _commit(self, plans: Sequence[_Plan], removed: Sequence[str]) -> None:
        self._progress("index", 0, 1)
        with self._database.transaction() as connection:
            records.delete_documents(connection, removed)
            for plan in plans:
                records.insert_document(connection, plan.document, plan.chunks)
            records.delete_unused_vectors(connection)
            generation = self._publish(connection)
        remove_other_generations(self._folder, generation)
        self._progress("index", 1, 1)

    def _publish(self, connection: sqlite3.Connection) -> int:
        """Write the indexes of what the transaction sees, as the next generation."""
        number = Generation.read(connection).number + 1
        indexes = build_indexes(connection, self._settings.dimension)
        Generation(number, write_indexes(self._folder, number, indexes)).write(connection)
        return number


def _refuse_twins(documents: Sequence[Document]) -> None:
    seen: dict[str, str] = {}
    for document in documents:
        if document.id in seen:
            raise InputError(
                f"two documents have the id {document.id!r} ({seen[document.id]!r} and {document.source!r}): "
                "rename one, or add the folder above both"
            )

        seen[document.id] = document.source
