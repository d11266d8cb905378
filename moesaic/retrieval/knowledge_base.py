"""A knowledge base: documents in one folder, searched by meaning and by words, every passage an exact span.

    kb.sqlite    documents, chunks, vectors and settings: the truth
    index-N/     the two indexes made of them; anything wrong there, and they are made again

- Adding and removing is one transaction: indexes are written under a new generation's name, then the database commits
  documents and generation together, then the old files go. A crash at any point leaves the former state.
- Vectors are kept by the digest of what was embedded, and committed as they are computed: text that was embedded once,
  in this document or another, or before an interruption, is not embedded again.
- One process writes, many read. A reader sees what was committed when its search began.
"""

import asyncio
import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from moesaic.artifact.staging import lock_folder, unlock_folder
from moesaic.errors import (
    InputError,
    KnowledgeBaseBusyError,
    KnowledgeBaseError,
    NotFoundError,
    StorageError,
)
from moesaic.retrieval import records
from moesaic.retrieval.chunker import ChunkOptions
from moesaic.retrieval.database import Database
from moesaic.retrieval.document import Document
from moesaic.retrieval.embedder import Embedder
from moesaic.retrieval.encoders import load_embedder
from moesaic.retrieval.index_reader import IndexReader
from moesaic.retrieval.passage import Passage
from moesaic.retrieval.passage_search import find_passages
from moesaic.retrieval.records import DocumentSummary
from moesaic.retrieval.search import SearchMode, check_query
from moesaic.retrieval.settings import KnowledgeBaseSettings
from moesaic.retrieval.writer import AddReport, Progress, Writer

__all__ = ["KnowledgeBase", "KnowledgeBaseInfo"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class KnowledgeBaseInfo:
    """What a knowledge base is and holds."""

    folder: Path
    embedder: str
    dimension: int
    chunk_options: ChunkOptions
    documents: int
    chunks: int
    characters: int

    def to_json(self) -> dict[str, Any]:
        """The facts as plain JSON values."""
        return {
            "folder": str(self.folder),
            "embedder": self.embedder,
            "dimension": self.dimension,
            "chunk_options": self.chunk_options.to_json(),
            "documents": self.documents,
            "chunks": self.chunks,
            "characters": self.characters,
        }


class KnowledgeBase:
    """One base; make it with `create` or `open`, and close it, or use it in a `with` block.

    Safe to use from several threads; searches of one object follow each other, but their queries are encoded at once.
    Whatever reads it may raise `DamagedKnowledgeBaseError`; whatever writes, `StorageError` too.
    """

    def __init__(self, database: Database, settings: KnowledgeBaseSettings, embedder: Embedder | None) -> None:
        self.folder = database.folder
        self.settings = settings
        self._database = database
        self._embedder = embedder
        self._reader = IndexReader(database.folder, settings.dimension)
        self._lock = threading.RLock()
        self._write_lock = threading.Lock()
        self._tried_to_renew: set[int] = set()

    @classmethod
    def create(cls, folder: str | Path, *, embedder: Embedder, chunks: ChunkOptions | None = None) -> Self:
        """Make an empty knowledge base. Embedder and chunk options stay with it.

        Raises:
            ForeignKnowledgeBaseError: there is one in this folder already.
            StorageError: the disk is full or may not be written.
        """
        root = Path(folder).expanduser().absolute()
        settings = KnowledgeBaseSettings(
            embedder=embedder.name,
            embedder_digest=embedder.digest,
            dimension=embedder.dimension,
            chunks=chunks or ChunkOptions(),
        )
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot make the folder {root} ({error.strerror}): choose another place") from error

        return cls(Database.create(root, settings.to_rows()), settings, embedder)

    @classmethod
    def open(cls, folder: str | Path, *, embedder: Embedder | None = None) -> Self:
        """Open a knowledge base.

        Args:
            folder: where it is.
            embedder: an embedder at hand; if not given, the recorded one is loaded when it is first needed, so that
                reading texts and lexical searches need none.

        Raises:
            ForeignKnowledgeBaseError: there is none, or one of an unknown format version.
            DamagedKnowledgeBaseError: its database is unreadable.
            EmbedderMismatchError: its vectors come from another embedder.
        """
        database = Database.open(Path(folder).expanduser().absolute())
        try:
            with database.snapshot() as connection:
                settings = KnowledgeBaseSettings.read(connection)
            if embedder is not None:
                settings.check(embedder)
        except BaseException:
            database.close()
            raise

        return cls(database, settings, embedder)

    @property
    def embedder(self) -> Embedder:
        """The embedder of its vectors, loaded at first use.

        Raises:
            EmbedderMismatchError: the recorded name now leads to another embedder.
        """
        with self._lock:
            if self._embedder is None:
                embedder = load_embedder(self.settings.embedder)
                self.settings.check(embedder)
                self._embedder = embedder
            return self._embedder

    def add(self, documents: Iterable[Document], *, progress: Progress | None = None) -> AddReport:
        """Add documents; those whose id is there are replaced, unless their content is the same. All of them, or none.

        Raises:
            InputError: two of the documents have the same id.
            KnowledgeBaseBusyError: another process is writing.
        """
        given = list(documents)
        with self._writer(progress) as writer:
            return writer.add(given, self.embedder)

    def remove(self, document_ids: Sequence[str]) -> None:
        """Remove documents. All of them, or none.

        Raises:
            NotFoundError: there is no document of one of the names.
            KnowledgeBaseBusyError: another process is writing.
        """
        with self._writer(None) as writer:
            known = self._ids()
            for document_id in document_ids:
                if document_id not in known:
                    raise self._not_found(document_id, known)
            writer.remove(document_ids)

    def search(self, query: str, k: int = 8, mode: SearchMode | str = SearchMode.HYBRID) -> list[Passage]:
        """The passages that answer a query best, the best first; fewer than `k` if there are no more.

        Passages of the same text, from several documents, are given once.

        Args:
            query: a question or keywords, in any language that the embedder knows.
            k: how many passages, 1 to 1000.
            mode: which indexes are asked, see `SearchMode`.

        Raises:
            InputError: the query is blank, or `k` or `mode` is out of range.
        """
        query, mode = check_query(query, k, mode)
        vector = None if mode is SearchMode.LEXICAL else self.embedder.embed_queries([query])[0]
        with self._lock, self._database.snapshot() as connection:
            view = self._reader.view(connection)
            passages = find_passages(connection, view, query, vector, k, mode)
        if view.is_rebuilt:
            self._renew_indexes(view.generation)
        return passages

    async def asearch(self, query: str, k: int = 8, mode: SearchMode | str = SearchMode.HYBRID) -> list[Passage]:
        """As `search`, in a thread."""
        return await asyncio.to_thread(self.search, query, k, mode)

    def document(self, document_id: str) -> Document:
        """A document as it was added, with its sections and source map.

        Raises:
            NotFoundError: there is none of this name.
        """
        with self._lock, self._database.snapshot() as connection:
            document = records.read_document(connection, document_id)
        if document is None:
            raise self._not_found(document_id, self._ids())

        return document

    def text(self, document_id: str, start: int | None = None, end: int | None = None) -> str:
        """The stored text of a document, or `[start:end]` of it, exactly: what every offset counts in.

        Raises:
            NotFoundError: there is no document of this name.
            InputError: the offsets do not lie within the text, in order.
        """
        text = self.document(document_id).text
        low, high = 0 if start is None else start, len(text) if end is None else end
        if not 0 <= low <= high <= len(text):
            raise InputError(f"start={start} and end={end} must be 0 <= start <= end <= {len(text)} in {document_id!r}")

        return text[low:high]

    def documents(self) -> list[DocumentSummary]:
        """All documents without their texts, ordered by id."""
        with self._lock, self._database.snapshot() as connection:
            return records.summaries(connection)

    def info(self) -> KnowledgeBaseInfo:
        """What the base is and holds."""
        documents = self.documents()
        return KnowledgeBaseInfo(
            folder=self.folder,
            embedder=self.settings.embedder,
            dimension=self.settings.dimension,
            chunk_options=self.settings.chunks,
            documents=len(documents),
            chunks=sum(document.chunks for document in documents),
            characters=sum(document.characters for document in documents),
        )

    def close(self) -> None:
        """Close the database; the object is of no more use."""
        with self._lock:
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _writer(self, progress: Progress | None) -> Iterator[Writer]:
        """A writer with a connection of its own, under the folder's lock: searches go on meanwhile."""
        with self._write_lock:
            lock = lock_folder(self.folder, wait=False)
            if lock is None:
                raise KnowledgeBaseBusyError(
                    f"another process is writing to {self.folder}: try again when it is done; searches work meanwhile"
                )

            try:
                database = Database.open(self.folder)
                try:
                    yield Writer(database, self.settings, progress)
                finally:
                    database.close()
            finally:
                unlock_folder(lock)

    def _renew_indexes(self, generation: int) -> None:
        """Put sound index files in the place of damaged ones, or try once: the next reader can build its own."""
        if generation in self._tried_to_renew:
            return

        self._tried_to_renew.add(generation)
        try:
            with self._writer(None) as writer:
                writer.renew_indexes()
        except (KnowledgeBaseError, StorageError) as error:
            _log.warning("the indexes of %s stay damaged on disk: %s", self.folder, error)

    def _ids(self) -> list[str]:
        with self._lock, self._database.snapshot() as connection:
            return sorted(records.digests(connection))

    def _not_found(self, document_id: str, known: Sequence[str]) -> NotFoundError:
        nearest = get_close_matches(document_id, known, n=3, cutoff=0.4) or list(known[:3])
        hint = f"the nearest of {len(known)} here: {', '.join(map(repr, nearest))}" if known else "the base is empty"
        return NotFoundError("document", document_id, hint)
