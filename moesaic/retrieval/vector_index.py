"""Vectors to chunks: exact inner products while they are cheap, a graph of 8-bit vectors above that.

Malkov & Yashunin, "Efficient and robust approximate nearest neighbor search using HNSW graphs" (2016), through FAISS.
"""

from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from moesaic.retrieval.dependency import require
from moesaic.retrieval.embedder import Vectors

__all__ = ["EXACT_LIMIT", "VectorHits", "VectorIndex"]

EXACT_LIMIT = 20_000
"""Vectors up to which every one is compared; the graph takes a minute to build for 100,000."""

_NEIGHBOURS = 32
_EF_CONSTRUCTION = 100
_EF_SEARCH = 128


class VectorHits(NamedTuple):
    """The nearest vectors of a query, the nearest first."""

    positions: NDArray[np.int64]
    similarities: Vectors


class VectorIndex:
    """Nearest vectors by inner product. Position i is the i-th vector that the index was built of."""

    def __init__(self, index: Any) -> None:
        self._index = index

    @classmethod
    def build(cls, vectors: Vectors, *, exact_limit: int = EXACT_LIMIT) -> Self:
        """Index the rows of `vectors` [n, d], each of length 1."""
        faiss = require("faiss")
        count, dimension = vectors.shape
        if count <= exact_limit:
            index = faiss.IndexFlatIP(dimension)
        else:
            kind = faiss.ScalarQuantizer.QT_8bit
            index = faiss.IndexHNSWSQ(dimension, kind, _NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = _EF_CONSTRUCTION
            index.train(vectors)
        index.add(vectors)
        return cls(index)

    @property
    def size(self) -> int:
        """How many vectors there are."""
        return int(self._index.ntotal)

    @property
    def is_exact(self) -> bool:
        """Whether a search compares every vector."""
        return not hasattr(self._index, "hnsw")

    def search(self, query: Vectors, depth: int) -> VectorHits:
        """The `depth` nearest vectors, or all if there are fewer, to the vector `query` [d]."""
        depth = min(depth, self.size)
        if depth < 1:
            return VectorHits(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32))

        arguments = {}
        if not self.is_exact:
            arguments["params"] = require("faiss").SearchParametersHNSW(efSearch=max(_EF_SEARCH, 2 * depth))
        similarities, positions = self._index.search(query[None, :], depth, **arguments)
        found = positions[0] >= 0
        return VectorHits(positions[0][found], similarities[0][found])

    def save(self, path: Path) -> None:
        """Write the index into a file."""
        path.write_bytes(require("faiss").serialize_index(self._index).tobytes())

    @classmethod
    def load(cls, path: Path, size: int) -> Self:
        """Read what `save` wrote for `size` vectors; errors are those of the file and of FAISS."""
        index = require("faiss").deserialize_index(np.frombuffer(path.read_bytes(), dtype=np.uint8))
        if index.ntotal != size:
            raise ValueError(f"the vector index has {index.ntotal} vectors instead of {size}")

        return cls(index)
