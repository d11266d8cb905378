"""Vectors of spans, encoded on all cores, and the latest kept: the same passages are found again and again."""

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from moesaic.retrieval import Embedder
from moesaic.retrieval.embedder import Vectors

__all__ = ["span_vectors"]

_MOST_THREADS = 8
_MOST_KEPT = 8192
"""Vectors; with 384 dimensions these are 12 MiB."""

_kept: OrderedDict[tuple[str, str], Vectors] = OrderedDict()
_lock = threading.Lock()


def span_vectors(embedder: Embedder, texts: Sequence[str]) -> Vectors:
    """One vector for each text, [texts, dimension]; what was encoded lately is not encoded again."""
    keys = [(embedder.digest, text) for text in texts]
    with _lock:
        found = {key: _kept[key] for key in keys if key in _kept}
    missing = list(dict.fromkeys(key for key in keys if key not in found))
    if missing:
        found |= zip(missing, _encoded(embedder, [text for _, text in missing]), strict=True)
    with _lock:
        for key in found:
            _kept[key] = found[key]
            _kept.move_to_end(key)
        while len(_kept) > _MOST_KEPT:
            _kept.popitem(last=False)
    return np.stack([found[key] for key in keys]) if keys else np.zeros((0, embedder.dimension), dtype=np.float32)


def _encoded(embedder: Embedder, texts: Sequence[str]) -> Vectors:
    """Vectors of all texts; encoders that use one core get several of them at once."""
    parts = min(_MOST_THREADS, len(os.sched_getaffinity(0)), len(texts))
    by_length = sorted(range(len(texts)), key=lambda number: len(texts[number]))
    shares = [by_length[first::parts] for first in range(parts)]
    vectors = np.empty((len(texts), embedder.dimension), dtype=np.float32)
    with ThreadPoolExecutor(parts) as pool:
        found = pool.map(lambda share: embedder.embed_documents([texts[number] for number in share]), shares)
        for share, rows in zip(shares, found, strict=True):
            vectors[share] = rows
    return vectors
