"""Nearest vectors: exact ones against NumPy, the graph against exact ones."""

from pathlib import Path

import numpy as np
import pytest

from moesaic.retrieval.embedder import Vectors
from moesaic.retrieval.vector_index import EXACT_LIMIT, VectorIndex


def unit_vectors(count: int, dimension: int = 32, seed: int = 0) -> Vectors:
    """Vectors in clusters, as those of texts are."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((20, dimension))
    vectors = centres[random.integers(20, size=count)] + 0.5 * random.standard_normal((count, dimension))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def test_a_small_index_is_exact() -> None:
    vectors = unit_vectors(500)
    query = unit_vectors(1, seed=1)[0]
    hits = VectorIndex.build(vectors).search(query, 10)
    similarities = vectors @ query
    assert hits.positions.tolist() == np.argsort(-similarities)[:10].tolist()
    assert hits.similarities == pytest.approx(np.sort(similarities)[::-1][:10], abs=1e-5)


def test_a_large_index_is_a_graph_that_finds_nearly_the_same(tmp_path: Path) -> None:
    vectors = unit_vectors(2000)
    graph, exact = VectorIndex.build(vectors, exact_limit=1000), VectorIndex.build(vectors)
    assert (graph.is_exact, exact.is_exact) == (False, True)
    graph.save(tmp_path / "graph")
    again = VectorIndex.load(tmp_path / "graph", 2000)
    assert not again.is_exact
    found = 0
    for query in unit_vectors(50, seed=2):
        hits = again.search(query, 10)
        found += len(set(hits.positions.tolist()) & set(exact.search(query, 10).positions.tolist()))
        assert hits.similarities == pytest.approx(vectors[hits.positions] @ query, abs=0.02)
    assert found >= 0.95 * 500
    assert EXACT_LIMIT == 20_000


def test_depth_is_bounded_by_the_size() -> None:
    index = VectorIndex.build(unit_vectors(3))
    assert index.search(unit_vectors(1)[0], 10).positions.size == 3
    empty = VectorIndex.build(np.zeros((0, 32), dtype=np.float32))
    assert empty.search(unit_vectors(1)[0], 10).positions.size == 0


def test_an_index_of_another_size_is_refused(tmp_path: Path) -> None:
    VectorIndex.build(unit_vectors(3)).save(tmp_path / "index")
    with pytest.raises(ValueError, match="3 vectors instead of 4"):
        VectorIndex.load(tmp_path / "index", 4)
