"""Hashed n-gram distributions of texts, and how far one lies from another.

Legend: K buckets, N texts, X n-grams of all texts side by side.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from moesaic.training.data.grams import grams, units_of

__all__ = ["buckets_of", "kl_divergence", "ngram_counts", "smoothed"]

Floats = npt.NDArray[np.float64]


def buckets_of(text: str, *, buckets: int, longest: int = 2) -> npt.NDArray[np.int64]:
    """Bucket of every n-gram of a text, of one unit to `longest`; runs of punctuation are units too."""
    hashes_U = units_of(text, punctuation=True).hashes
    found = [grams(hashes_U, size) for size in range(1, longest + 1)]
    return (np.concatenate(found) % np.uint64(buckets)).astype(np.int64)


def ngram_counts(texts: Iterable[str], *, buckets: int, longest: int = 2) -> Floats:
    """How often each bucket occurs in all texts together [K]."""
    counts_K = np.zeros(buckets)
    for text in texts:
        counts_K += np.bincount(buckets_of(text, buckets=buckets, longest=longest), minlength=buckets)
    return counts_K


def smoothed(counts_K: Floats, smoothing: float) -> Floats:
    """Probabilities [K] of counts, with `smoothing` added to each."""
    added_K = counts_K + smoothing
    return added_K / added_K.sum()


def kl_divergence(p_K: Floats, q_K: Floats) -> float:
    """KL(p || q) in nats; q is above 0 wherever p is."""
    there_K = p_K > 0
    return float(np.sum(p_K[there_K] * np.log(p_K[there_K] / q_K[there_K])))
