"""What a corpus is made of, and how diverse it is, in numbers."""

import zlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from moesaic.training.data.grams import Hashes, grams, units_of
from moesaic.training.data.text_document import TextDocument
from moesaic.training.data.text_facts import language_of

__all__ = ["LENGTH_EDGES", "composition_of"]

LENGTH_EDGES = (0, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
"""Edges of the histogram of lengths, in characters; the last bin has no end."""
_SAMPLED_UNITS = 2_000_000
_SAMPLED_BYTES = 4 << 20


class _Part:
    """Counts of one corpus."""

    def __init__(self) -> None:
        self.documents = 0
        self.characters = 0
        self.bytes = 0
        self.languages: Counter[str] = Counter()
        self.lengths = [0] * len(LENGTH_EDGES)
        self._sample: list[Hashes] = []
        self._sampled = 0
        self._packed = zlib.compressobj(6)
        self._raw = self._compressed = 0

    def add(self, text: str) -> None:
        content = text.encode("utf-8", "replace")
        self.documents += 1
        self.characters += len(text)
        self.bytes += len(content)
        self.languages[language_of(text)] += 1
        self.lengths[int(np.searchsorted(LENGTH_EDGES, len(text), side="right")) - 1] += 1
        if self._sampled < _SAMPLED_UNITS:
            self._sample.append(units_of(text).hashes)
            self._sampled += self._sample[-1].size
        if self._raw < _SAMPLED_BYTES:
            self._compressed += len(self._packed.compress(content))
            self._raw += len(content)

    def to_json(self) -> dict[str, Any]:
        units = np.concatenate(self._sample) if self._sample else np.empty(0, np.uint64)
        compressed = self._compressed + len(self._packed.flush())
        return {
            "documents": self.documents,
            "characters": self.characters,
            "bytes": self.bytes,
            "languages": dict(self.languages.most_common()),
            "lengths": self.lengths,
            "sampled_units": int(units.size),
            "distinct": {str(size): _distinct(grams(units, size)) for size in (1, 2, 3)},
            "unigram_entropy_bits": _entropy(units),
            "compression_ratio": round(self._raw / max(1, compressed), 3),
        }


def composition_of(documents: Iterable[TextDocument]) -> dict[str, Any]:
    """Numbers of every corpus and of all together.

    Per corpus: documents, characters, UTF-8 bytes, languages, a histogram of lengths (`LENGTH_EDGES`), and of up to two
    million units (words; characters of Chinese): the share of distinct 1-, 2- and 3-grams (Li et al. 2016,
    arXiv:1510.03055, section 5), the entropy of single units in bits, and how many times smaller DEFLATE makes it.
    A corpus that repeats itself has few distinct n-grams, little entropy and a high ratio.
    """
    parts: dict[str, _Part] = {}
    everything = _Part()
    for document in documents:
        parts.setdefault(document.corpus, _Part()).add(document.text)
        everything.add(document.text)
    return {
        "length_edges": list(LENGTH_EDGES),
        "all": everything.to_json(),
        "corpora": {name: part.to_json() for name, part in parts.items()},
    }


def _distinct(hashes: Hashes) -> float:
    return round(float(np.unique(hashes).size / max(1, hashes.size)), 6)


def _entropy(hashes: Hashes) -> float:
    if not hashes.size:
        return 0.0

    shares = np.unique(hashes, return_counts=True)[1] / hashes.size
    return round(float(-(shares * np.log2(shares)).sum()), 4)
