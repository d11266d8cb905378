"""What the knowledge base needs of an encoder, and nothing else; implementations stand in `encoders`."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Embedder", "Vectors"]

Vectors = NDArray[np.float32]
"""One row for each text, of Euclidean length 1."""


class Embedder(Protocol):
    """Texts into vectors whose inner product says how near in meaning they are. Safe to call from several threads."""

    @property
    def name(self) -> str:
        """What `load_embedder` takes to load this embedder again."""
        ...

    @property
    def digest(self) -> str:
        """Identity of weights and settings: vectors of two embedders compare only if this is equal."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors of passages, [texts, dimension]; a text beyond the encoder's limit is cut or averaged, as it says."""
        ...

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of questions, [texts, dimension]; some encoders treat them differently from passages."""
        ...
