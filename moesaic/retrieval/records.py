"""Documents and chunks as rows of `kb.sqlite`. Every function works within the transaction that its caller opened."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np

from moesaic.errors import DamagedKnowledgeBaseError
from moesaic.retrieval.chunker import Chunk
from moesaic.retrieval.document import Document, Section
from moesaic.retrieval.embedder import Vectors
from moesaic.retrieval.source_map import SourceMap

__all__ = [
    "ChunkRow",
    "DocumentSummary",
    "chunk_numbers",
    "chunk_rows",
    "delete_documents",
    "delete_unused_vectors",
    "digests",
    "insert_document",
    "known_vectors",
    "read_document",
    "searchable_texts",
    "store_vectors",
    "stored_vectors",
    "summaries",
    "vector_text",
]

_T = TypeVar("_T")

_BATCH = 500
_CHUNK_COLUMNS = "c.number, d.id, d.title, c.heading_path, c.start, c.end, substr(d.text, c.start + 1, c.end - c.start)"


@dataclass(frozen=True, kw_only=True)
class DocumentSummary:
    """A stored document without its text."""

    id: str
    title: str
    media_type: str
    source: str
    digest: str
    characters: int
    chunks: int

    def to_json(self) -> dict[str, Any]:
        """The summary as plain JSON values."""
        return asdict(self)


class ChunkRow(NamedTuple):
    """A stored chunk with what a passage says about its document."""

    number: int
    document_id: str
    title: str
    heading_path: tuple[str, ...]
    start: int
    end: int
    text: str


def vector_text(title: str, heading_path: Sequence[str], text: str) -> str:
    """What is embedded and indexed for a chunk: the headings above it, then its text."""
    headings = [title, *(heading for heading in heading_path if heading != title)]
    return " > ".join(heading for heading in headings if heading) + "\n" + text


def digests(connection: sqlite3.Connection) -> dict[str, str]:
    """Digest of each document, by id."""
    return dict(connection.execute("SELECT id, digest FROM documents").fetchall())


def summaries(connection: sqlite3.Connection) -> list[DocumentSummary]:
    """All documents, ordered by id."""
    rows = connection.execute(
        "SELECT id, title, media_type, source, digest, length(text),"
        " (SELECT count(*) FROM chunks WHERE document = documents.number) FROM documents ORDER BY id"
    )
    names = ("id", "title", "media_type", "source", "digest", "characters", "chunks")
    return [DocumentSummary(**dict(zip(names, row, strict=True))) for row in rows]


def read_document(connection: sqlite3.Connection, document_id: str) -> Document | None:
    """A document as it was added, or None.

    Raises:
        DamagedKnowledgeBaseError: its digest is another than it was then.
    """
    row = connection.execute(
        "SELECT title, text, media_type, source, sections, source_map, digest FROM documents WHERE id = ?",
        (document_id,),
    ).fetchone()
    if row is None:
        return None

    title, text, media_type, source, sections, source_map, digest = row
    try:
        document = Document(
            id=document_id,
            title=title,
            text=text,
            media_type=media_type,
            source=source,
            sections=tuple(
                Section(start=start, end=end, heading_path=tuple(path)) for start, end, path in json.loads(sections)
            ),
            source_map=SourceMap.from_runs(json.loads(source_map)),
        )
    except (TypeError, ValueError) as error:
        raise _damaged(document_id, str(error)) from error

    if document.digest != digest:
        raise _damaged(document_id, "its text is not the one that was added")

    return document


def insert_document(connection: sqlite3.Connection, document: Document, chunks: Iterable[tuple[Chunk, str]]) -> None:
    """Add a document that is not there, with its chunks and the digests of their vectors."""
    sections = [(section.start, section.end, section.heading_path) for section in document.sections]
    cursor = connection.execute(
        "INSERT INTO documents (id, title, text, media_type, source, digest, sections, source_map)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            document.id,
            document.title,
            document.text,
            document.media_type,
            document.source,
            document.digest,
            json.dumps(sections, ensure_ascii=False),
            json.dumps(document.source_map.runs),
        ),
    )
    connection.executemany(
        "INSERT INTO chunks (document, start, end, heading_path, vector) VALUES (?, ?, ?, ?, ?)",
        [
            (cursor.lastrowid, chunk.start, chunk.end, json.dumps(chunk.heading_path, ensure_ascii=False), digest)
            for chunk, digest in chunks
        ],
    )


def delete_documents(connection: sqlite3.Connection, ids: Iterable[str]) -> None:
    """Remove documents with their chunks; their vectors stay for documents that are added in the same transaction."""
    connection.executemany("DELETE FROM documents WHERE id = ?", [(document_id,) for document_id in ids])


def delete_unused_vectors(connection: sqlite3.Connection) -> None:
    """Remove the vectors that no chunk needs."""
    connection.execute("DELETE FROM vectors WHERE digest NOT IN (SELECT vector FROM chunks)")


def known_vectors(connection: sqlite3.Connection, wanted: Iterable[str]) -> set[str]:
    """Those of the wanted vector digests that are stored."""
    return {
        digest
        for batch in _batches(list(wanted))
        for (digest,) in connection.execute(
            f"SELECT digest FROM vectors WHERE digest IN ({','.join('?' * len(batch))})", batch
        )
    }


def store_vectors(connection: sqlite3.Connection, vectors: Iterable[tuple[str, Vectors]]) -> None:
    """Keep vectors under their digests."""
    connection.executemany(
        "INSERT OR REPLACE INTO vectors VALUES (?, ?)",
        [(digest, np.ascontiguousarray(vector, dtype="<f4").tobytes()) for digest, vector in vectors],
    )


def chunk_numbers(connection: sqlite3.Connection) -> list[int]:
    """Numbers of all chunks, in the order in which the indexes hold them."""
    return [number for (number,) in connection.execute("SELECT number FROM chunks ORDER BY number")]


def searchable_texts(connection: sqlite3.Connection) -> list[str]:
    """What is indexed of each chunk, in the order of `chunk_numbers`."""
    # Not one substr per chunk: SQLite would walk through a long text once for each of its chunks.
    documents = {row[0]: row[1:] for row in connection.execute("SELECT number, title, text FROM documents")}
    texts = []
    for number, start, end, path in connection.execute(
        "SELECT document, start, end, heading_path FROM chunks ORDER BY number"
    ):
        title, text = documents[number]
        texts.append(vector_text(title, json.loads(path), text[start:end]))
    return texts


def stored_vectors(connection: sqlite3.Connection, dimension: int, numbers: Sequence[int] | None = None) -> Vectors:
    """Vectors of all chunks in the order of `chunk_numbers`, or of the given chunks in the given order, [n, d].

    Raises:
        DamagedKnowledgeBaseError: a vector has another length.
    """
    query = "SELECT c.number, v.vector FROM chunks c JOIN vectors v ON v.digest = c.vector"
    if numbers is None:
        rows = connection.execute(f"{query} ORDER BY c.number").fetchall()
    else:
        found = {
            row[0]: row
            for batch in _batches(list(numbers))
            for row in connection.execute(f"{query} WHERE c.number IN ({','.join('?' * len(batch))})", batch)
        }
        rows = [found[number] for number in numbers]
    if any(len(blob) != 4 * dimension for _, blob in rows):
        raise DamagedKnowledgeBaseError(
            f"a stored vector does not have {dimension} numbers: restore the knowledge base from a copy"
        )

    joined = np.frombuffer(b"".join(blob for _, blob in rows), dtype="<f4")
    return joined.reshape(len(rows), dimension).astype(np.float32)


def chunk_rows(connection: sqlite3.Connection, numbers: Sequence[int]) -> list[ChunkRow]:
    """The given chunks, in the given order."""
    found = {
        row[0]: _chunk_row(row)
        for batch in _batches(list(numbers))
        for row in connection.execute(
            f"SELECT {_CHUNK_COLUMNS} FROM chunks c JOIN documents d ON d.number = c.document"
            f" WHERE c.number IN ({','.join('?' * len(batch))})",
            batch,
        )
    }
    return [found[number] for number in numbers]


def _damaged(document_id: str, reason: str) -> DamagedKnowledgeBaseError:
    return DamagedKnowledgeBaseError(
        f"the stored document {document_id!r} is damaged ({reason[:100]}): add it again, or restore the knowledge base "
        "from a copy"
    )


def _chunk_row(row: tuple[int, str, str, str, int, int, str]) -> ChunkRow:
    number, document_id, title, heading_path, start, end, text = row
    return ChunkRow(number, document_id, title, tuple(json.loads(heading_path)), start, end, text)


def _batches(items: list[_T]) -> Iterable[list[_T]]:
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))
