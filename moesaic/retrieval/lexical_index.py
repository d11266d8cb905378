"""Words to chunks: BM25 (Lucene's variant, through bm25s), built at once and then only read.

Robertson & Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), with k1 = 1.5 and b = 0.75.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import numpy as np

from moesaic.retrieval.dependency import require
from moesaic.retrieval.embedder import Vectors
from moesaic.retrieval.lexical_tokens import lexical_tokens
from moesaic.retrieval.query_words import query_words

__all__ = ["LexicalIndex"]


class LexicalIndex:
    """Scores of every indexed text for a query. Position i is the i-th text that the index was built of."""

    def __init__(self, ranker: Any, size: int) -> None:
        self._ranker = ranker
        self.size = size

    @classmethod
    def build(cls, texts: Sequence[str]) -> Self:
        """Index texts, in order."""
        if not any(tokens := [lexical_tokens(text) for text in texts]):
            return cls(None, len(texts))

        ranker = _bm25s().BM25(method="lucene", k1=1.5, b=0.75, backend="numpy")
        ranker.index(tokens, show_progress=False)
        return cls(ranker, len(texts))

    def scores(self, query: str) -> Vectors:
        """BM25 score of each text, [size]; 0 where no word of the query occurs."""
        tokens = query_words(query)
        if self._ranker is None or not any(token in self._ranker.vocab_dict for token in tokens):
            return np.zeros(self.size, dtype=np.float32)

        return np.asarray(self._ranker.get_scores(tokens), dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Write the index into a folder of its own."""
        folder.mkdir()
        if self._ranker is not None:
            self._ranker.save(str(folder), show_progress=False)

    @classmethod
    def load(cls, folder: Path, size: int) -> Self:
        """Read what `save` wrote for `size` texts; errors are those of the files and of numpy."""
        if not any(folder.iterdir()):
            return cls(None, size)

        ranker = _bm25s().BM25.load(str(folder), show_progress=False)
        ranker.backend = "numpy"
        if ranker.scores["num_docs"] != size:
            raise ValueError(f"the lexical index has {ranker.scores['num_docs']} texts instead of {size}")

        return cls(ranker, size)


def _bm25s() -> ModuleType:
    """The package, without the debugging messages that it turns on by being imported."""
    module = require("bm25s")
    logging.getLogger("bm25s").setLevel(logging.WARNING)
    return module
