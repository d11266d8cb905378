"""Ranking the chunks of both indexes for one query."""

from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from moesaic.errors import InputError
from moesaic.retrieval.embedder import Vectors
from moesaic.retrieval.fusion import fuse
from moesaic.retrieval.index_files import Indexes

__all__ = ["MAX_K", "RankedChunk", "SearchMode", "check_query", "rank"]

MAX_K = 1000
"""Most passages that one search gives."""

_DEPTH = 100


class SearchMode(StrEnum):
    """Which indexes are asked."""

    HYBRID = "hybrid"
    """Both, fused by ranks: what shares words with the query, and what means the same in other words."""
    VECTOR = "vector"
    """The nearest vectors alone."""
    LEXICAL = "lexical"
    """BM25 alone; no encoder is loaded."""


class RankedChunk(NamedTuple):
    """A position in the indexes, and how it was ranked."""

    position: int
    score: float
    vector_rank: int | None
    lexical_rank: int | None
    lexical_score: float


def check_query(query: str, k: int, mode: str) -> tuple[str, SearchMode]:
    """The query without characters that are no text, and the mode.

    Raises:
        InputError: the query is blank, `k` is out of range, or there is no such mode.
    """
    cleaned = query.replace("\0", " ").encode(errors="replace").decode()
    if not cleaned.strip():
        raise InputError("the query is blank; ask something")

    if not 1 <= k <= MAX_K:
        raise InputError(f"k={k!r} must be 1 to {MAX_K}")

    if mode not in list(SearchMode):
        raise InputError(f"mode={mode!r} must be one of {', '.join(SearchMode)}")

    return cleaned, SearchMode(mode)


def rank(indexes: Indexes, query: str, vector: Vectors | None, k: int, mode: SearchMode) -> list[RankedChunk]:
    """The best chunks, `k` or more if there are so many. `vector` is the query's [d]; a lexical search needs none."""
    depth = max(_DEPTH, 2 * k)
    scores = np.zeros(indexes.vectors.size, dtype=np.float32)
    by_words: dict[int, int] = {}
    by_vector: dict[int, int] = {}
    similarities: dict[int, float] = {}
    if mode is not SearchMode.VECTOR:
        scores = indexes.lexical.scores(query)
        by_words = {int(position): rank for rank, position in enumerate(_best(scores, depth), start=1)}
    if mode is not SearchMode.LEXICAL and vector is not None:
        hits = indexes.vectors.search(vector, depth)
        by_vector = {int(position): rank for rank, position in enumerate(hits.positions, start=1)}
        similarities = dict(zip(by_vector, hits.similarities.tolist(), strict=True))

    match mode:
        case SearchMode.HYBRID:
            ordered = fuse([by_vector, by_words])
        case SearchMode.VECTOR:
            ordered = [(position, similarities[position]) for position in by_vector]
        case SearchMode.LEXICAL:
            ordered = [(position, float(scores[position])) for position in by_words]
    return [
        RankedChunk(position, score, by_vector.get(position), by_words.get(position), float(scores[position]))
        for position, score in ordered
    ]


def _best(scores: Vectors, depth: int) -> NDArray[np.int64]:
    """Positions of the best positive scores, the best first, equal ones by position."""
    positive = np.flatnonzero(scores > 0)
    if len(positive) > depth:
        bar = np.partition(scores[positive], -depth)[-depth]
        positive = positive[scores[positive] >= bar]
    order = np.argsort(-scores[positive], kind="stable")
    return positive[order][:depth].astype(np.int64)
