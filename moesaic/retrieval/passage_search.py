"""From ranked chunks to passages.

Passages of the same text are folded into the first of them: manuals repeat themselves, and a reader (or a prompt) has
no use for the same words twice.
"""

import sqlite3

from moesaic.retrieval import records
from moesaic.retrieval.embedder import Vectors
from moesaic.retrieval.index_reader import IndexView
from moesaic.retrieval.passage import Passage
from moesaic.retrieval.records import ChunkRow
from moesaic.retrieval.search import RankedChunk, SearchMode, rank

__all__ = ["find_passages"]


def find_passages(
    connection: sqlite3.Connection, view: IndexView, query: str, vector: Vectors | None, k: int, mode: SearchMode
) -> list[Passage]:
    """The best `k` passages of different texts, in the connection's snapshot, to which the view belongs."""
    ranked = rank(view.indexes, query, vector, k, mode)
    found = _distinct(connection, view, ranked, k)
    similarities: list[float | None] = [None] * len(found)
    if vector is not None:
        stored = records.stored_vectors(connection, len(vector), [row.number for _, row in found])
        similarities = (stored @ vector).tolist()
    return [
        Passage(
            document_id=row.document_id,
            title=row.title,
            heading_path=row.heading_path,
            start=row.start,
            end=row.end,
            text=row.text,
            score=chunk.score,
            vector_rank=chunk.vector_rank,
            lexical_rank=chunk.lexical_rank,
            vector_similarity=similarity,
            lexical_score=chunk.lexical_score,
        )
        for (chunk, row), similarity in zip(found, similarities, strict=True)
    ]


def _distinct(
    connection: sqlite3.Connection, view: IndexView, ranked: list[RankedChunk], k: int
) -> list[tuple[RankedChunk, ChunkRow]]:
    """The first `k` chunks of different texts, with their rows; white space makes no difference."""
    kept: dict[str, tuple[RankedChunk, ChunkRow]] = {}
    for start in range(0, len(ranked), k):
        batch = ranked[start : start + k]
        rows = records.chunk_rows(connection, [int(view.numbers[chunk.position]) for chunk in batch])
        for chunk, row in zip(batch, rows, strict=True):
            kept.setdefault(" ".join(row.text.split()), (chunk, row))
        if len(kept) >= k:
            break
    return list(kept.values())[:k]
