"""MinHash signatures and their bands: sets that share a band are candidates for being alike.

Broder 1997, "On the resemblance and containment of documents", and locality-sensitive hashing as in Leskovec,
Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4; 14 bands of 8 rows as FineWeb has them (Penedo et al.
2024, arXiv:2406.17557, section 3.4): sets of Jaccard similarity s become candidates with probability
1 - (1 - s^8)^14, which is 0.99 at 0.85, 0.65 at 0.72 and 0.05 at 0.5.

How this differs: 1. the permutations are multiply-shift functions of one 64-bit hash (Dietzfelbinger et al. 1997)
rather than modular ones; 2. only the 14 keys of a document are kept, 112 bytes, because candidates are compared by
their true similarity and never by their signatures.

Legend: N sets, X elements of all sets side by side, H hash functions, G bands.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from moesaic.errors import InputError
from moesaic.training.data.grams import Hashes, mixed

__all__ = ["MinHasher", "candidate_probability", "jaccard"]

_CHUNK_ELEMENTS = 1 << 16
"""So that a chunk and what is made of it stay in the processor's cache."""
_EMPTY = np.uint64((1 << 64) - 1)


class MinHasher:
    """Band keys of sets of 64-bit hashes.

    Args:
        bands: G, number of bands.
        rows: hash functions of a band; H = bands x rows.
        seed: chooses the hash functions.

    Raises:
        InputError: bands or rows are below 1, or their product is above 4096.
    """

    def __init__(self, *, bands: int = 14, rows: int = 8, seed: int = 0) -> None:
        if bands < 1 or rows < 1 or bands * rows > 4096:
            raise InputError(f"bands={bands!r}, rows={rows!r} must be at least 1, and 4096 at most in product")

        self.bands = bands
        self.rows = rows
        generator = np.random.default_rng([seed, bands, rows])
        drawn = generator.integers(0, 1 << 64, size=(2, bands * rows), dtype=np.uint64)
        self._factors_H = drawn[0] | np.uint64(1)
        self._terms_H = drawn[1]

    def signatures(self, sets: Sequence[Hashes]) -> npt.NDArray[np.uint64]:
        """The smallest value of each hash function over each set [N, H]; of an empty set the largest there is."""
        result_NH = np.full((len(sets), self._factors_H.size), _EMPTY, np.uint64)
        filled = [number for number, elements in enumerate(sets) if elements.size]
        begin = 0
        while begin < len(filled):
            end, count = begin + 1, sets[filled[begin]].size
            while end < len(filled) and count + sets[filled[end]].size <= _CHUNK_ELEMENTS:
                count += sets[filled[end]].size
                end += 1
            chunk = filled[begin:end]
            result_NH[chunk] = self._smallest([sets[number] for number in chunk])
            begin = end
        return result_NH

    def band_keys(self, sets: Sequence[Hashes]) -> npt.NDArray[np.uint64]:
        """One key for each band of each set [N, G]; sets are candidates if they share a key of the same band."""
        signatures_NGR = self.signatures(sets).reshape(len(sets), self.bands, self.rows)
        keys_NG = np.zeros((len(sets), self.bands), np.uint64)
        for row in range(self.rows):
            keys_NG = mixed(keys_NG + signatures_NGR[:, :, row] + np.uint64(0x9E3779B97F4A7C15))
        return keys_NG

    def _smallest(self, sets: list[Hashes]) -> npt.NDArray[np.uint64]:
        elements_X = np.concatenate(sets)
        starts_N = np.cumsum([0, *(elements.size for elements in sets[:-1])])
        result_HN = np.empty((self._factors_H.size, len(sets)), np.uint64)
        values_X = np.empty_like(elements_X)
        for number, (factor, term) in enumerate(zip(self._factors_H, self._terms_H, strict=True)):
            np.multiply(elements_X, factor, out=values_X)
            np.add(values_X, term, out=values_X)
            # The low bits of a product are poor: the high half is the value.
            np.right_shift(values_X, np.uint64(32), out=values_X)
            np.minimum.reduceat(values_X, starts_N, out=result_HN[number])
        return result_HN.T


def jaccard(first: Hashes, second: Hashes) -> float:
    """Size of the intersection of two sorted sets over that of their union; 0 if both are empty."""
    small, large = (first, second) if first.size <= second.size else (second, first)
    if not small.size:
        return 0.0

    places = np.searchsorted(large, small)
    found = places < large.size
    shared = int((large[places[found]] == small[found]).sum())
    return shared / (small.size + large.size - shared)


def candidate_probability(similarity: float, *, bands: int = 14, rows: int = 8) -> float:
    """How likely two sets of this similarity share a band."""
    return float(1 - (1 - similarity**rows) ** bands)
