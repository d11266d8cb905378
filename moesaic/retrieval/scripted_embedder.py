"""An embedder without weights, for tests and trials: texts that share words get vectors that are near each other.

Each token is hashed to a direction; a text is the sum of its tokens' directions. It is deterministic across processes
and machines, and knows nothing of meaning: `dog` and `hound` are as far apart as any two words.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from moesaic.errors import InputError
from moesaic.retrieval.embedder import Vectors
from moesaic.retrieval.lexical_tokens import lexical_tokens

__all__ = ["ScriptedEmbedder"]

_VERSION = "1"


class ScriptedEmbedder:
    """The double of an `Embedder`.

    Args:
        dimension: length of a vector, at least 8. Shorter vectors make unrelated words collide.

    Raises:
        InputError: the dimension is too small.
    """

    def __init__(self, dimension: int = 64) -> None:
        if dimension < 8:
            raise InputError(f"dimension={dimension} must be at least 8")

        self.dimension = dimension
        self.name = "scripted" if dimension == 64 else f"scripted:{dimension}"
        self.digest = hashlib.sha256(f"scripted {_VERSION} {dimension}".encode()).hexdigest()
        self.embedded: list[str] = []
        """Every document text that was embedded, in order: tests read from it what was computed and what reused."""

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors of passages; they are noted in `embedded`."""
        self.embedded.extend(texts)
        return self._embed(texts)

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of questions, computed as those of passages are."""
        return self._embed(texts)

    def _embed(self, texts: Sequence[str]) -> Vectors:
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for token in lexical_tokens(text) or [""]:
                row += self._direction(token)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)

    def _direction(self, token: str) -> Vectors:
        seed = int.from_bytes(hashlib.blake2b(token.encode(), digest_size=8).digest())
        return np.random.default_rng(seed).standard_normal(self.dimension).astype(np.float32)
