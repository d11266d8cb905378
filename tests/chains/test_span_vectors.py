"""Vectors of spans are kept, within bounds, and never mixed up."""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from moesaic.chains import span_vectors as module
from moesaic.chains.span_vectors import span_vectors
from moesaic.retrieval.embedder import Vectors


class CountingEmbedder:
    """Vectors that depend on the text and on the embedder, and how many were asked for."""

    dimension = 4

    def __init__(self, digest: str) -> None:
        self.name = self.digest = digest
        self.asked: list[str] = []

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        self.asked += texts
        digests = [hashlib.sha256((self.digest + text).encode()).digest()[:4] for text in texts]
        return np.array([list(digest) for digest in digests], dtype=np.float32)

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        return self.embed_documents(texts)


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    module._kept.clear()
    yield
    module._kept.clear()


def test_each_text_is_encoded_once_and_stands_in_its_place() -> None:
    embedder = CountingEmbedder("one")
    texts = ["a passage", "一段文字", "a passage", "another, which is longer"]
    vectors = span_vectors(embedder, texts)
    assert sorted(embedder.asked) == sorted(set(texts))
    for text, vector in zip(texts, vectors, strict=True):
        np.testing.assert_array_equal(vector, CountingEmbedder("one").embed_documents([text])[0])
    embedder.asked.clear()
    np.testing.assert_array_equal(span_vectors(embedder, [*texts[::-1], "new"])[:4], vectors[::-1])
    assert embedder.asked == ["new"]


def test_embedders_are_kept_apart() -> None:
    one, other = CountingEmbedder("one"), CountingEmbedder("other")
    assert not np.array_equal(span_vectors(one, ["a"]), span_vectors(other, ["a"]))
    assert other.asked == ["a"]


def test_the_oldest_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_KEPT", 3)
    embedder = CountingEmbedder("one")
    for text in ("a", "b", "c", "a", "d"):
        span_vectors(embedder, [text])
    assert [text for _, text in module._kept] == ["c", "a", "d"]
    assert span_vectors(embedder, list("vwxyz")).shape == (5, 4)
    assert len(module._kept) == 3


def test_no_text_has_no_vector() -> None:
    assert span_vectors(CountingEmbedder("one"), []).shape == (0, 4)
