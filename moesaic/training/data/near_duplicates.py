"""Documents that say nearly what a longer one says: found by MinHash, verified, and left out.

1. Band keys of every document (see `moesaic.training.data.minhash`); 112 bytes each are all that is held in memory.
2. Documents that share a key are compared by the true Jaccard similarity of their shingles, read again from where
   the texts are; those at or above the threshold are joined into clusters (union-find).
3. Of a cluster the longest document stays. A member goes only if it is alike, by the same threshold, to one that
   stays: a chain of small changes does not remove what is no longer alike.

How this differs from FineWeb's (Penedo et al. 2024, arXiv:2406.17557, section 3.4), which takes a shared band for the
truth and keeps a random member: 1. steps 2 and 3, so that no removed document is less alike than the threshold;
2. shingles of Chinese are five characters.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from moesaic.errors import RecipeError
from moesaic.training.data.grams import Hashes, mixed, shingles
from moesaic.training.data.minhash import MinHasher, jaccard

__all__ = ["DedupOptions", "NearDuplicates", "Texts", "find_near_duplicates"]

_BATCH_DOCUMENTS = 256
_COMPARED_ALL = 24
"""In a larger bucket, members are compared with those that were found to be unlike each other, not all with all."""
_MOST_LEADERS = 64
_CACHED_SHINGLES = 8 << 20
_REMEMBERED_PAIRS = 1 << 20

Progress = Callable[[int, int], None]


class Texts(Protocol):
    """Texts by number, in memory or on disk."""

    def __len__(self) -> int:
        """How many."""
        ...

    def __getitem__(self, number: int, /) -> str:
        """One of them."""
        ...


@dataclass(frozen=True, kw_only=True)
class DedupOptions:
    """How near-duplicates are found."""

    threshold: float = 0.7
    """Documents are near-duplicates from this Jaccard similarity of shingles on; above 0, at most 1."""
    shingle_units: int = 5
    """Words (of Chinese: characters) of a shingle."""
    bands: int = 14
    """Bands of a signature: more find more."""
    rows: int = 8
    """Hash functions of a band: more compare less."""
    seed: int = 0
    """Chooses the hash functions."""

    def __post_init__(self) -> None:
        """Refuse values that find nothing."""
        if not 0 < self.threshold <= 1:
            raise RecipeError(f"threshold={self.threshold!r} must be above 0 and at most 1; 0.7 is usual")

        if not 1 <= self.shingle_units <= 100:
            raise RecipeError(f"shingle_units={self.shingle_units!r} must be 1 to 100; 5 is usual")

        if self.bands < 1 or self.rows < 1 or self.bands * self.rows > 4096:
            raise RecipeError(
                f"bands={self.bands!r}, rows={self.rows!r} must be at least 1, and 4096 at most in product"
            )


@dataclass(frozen=True, kw_only=True)
class NearDuplicates:
    """What was found. Numbers are those of the texts."""

    kept_by: dict[int, int]
    """The document that stays, for each that goes."""
    similarity: dict[int, float]
    """Jaccard similarity of each that goes to the one that stays."""
    compared: int
    """Pairs whose true similarity was computed."""
    unlike: int
    """Those of them below the threshold: what MinHash alone would have got wrong."""
    passed_over: int
    """Pairs of overfull buckets that were not compared."""

    def to_json(self) -> dict[str, Any]:
        """Counts as plain JSON values."""
        return {
            "removed": len(self.kept_by),
            "clusters": len(set(self.kept_by.values())),
            "compared": self.compared,
            "unlike": self.unlike,
            "passed_over": self.passed_over,
        }


def find_near_duplicates(
    texts: Texts, options: DedupOptions | None = None, *, progress: Progress | None = None
) -> NearDuplicates:
    """Find the documents to leave out.

    Args:
        texts: read more than once, in any order; they may lie on disk.
        options: threshold, shingles and bands.
        progress: called with texts done and all.
    """
    options = options or DedupOptions()
    keys_NG = _band_keys(texts, options, progress)
    comparison = _Comparison(texts, options)
    clusters = _Clusters(len(texts))
    for band in range(options.bands):
        for bucket in _buckets(keys_NG[:, band]):
            _join(bucket, comparison, clusters)
    kept_by: dict[int, int] = {}
    similarity: dict[int, float] = {}
    for members in clusters.several():
        staying: list[int] = []
        for member in sorted(members, key=lambda number: (-len(texts[number]), number)):
            alike = ((other, comparison.similarity(member, other)) for other in staying)
            found = next((pair for pair in alike if pair[1] >= options.threshold), None)
            if found is None:
                staying.append(member)
            else:
                kept_by[member], similarity[member] = found
    return NearDuplicates(
        kept_by=kept_by,
        similarity=similarity,
        compared=comparison.compared,
        unlike=comparison.unlike,
        passed_over=comparison.passed_over,
    )


def _band_keys(texts: Texts, options: DedupOptions, progress: Progress | None) -> npt.NDArray[np.uint64]:
    hasher = MinHasher(bands=options.bands, rows=options.rows, seed=options.seed)
    keys_NG = np.zeros((len(texts), options.bands), np.uint64)
    for begin in range(0, len(texts), _BATCH_DOCUMENTS):
        end = min(begin + _BATCH_DOCUMENTS, len(texts))
        sets = [shingles(texts[number], options.shingle_units) for number in range(begin, end)]
        keys_NG[begin:end] = hasher.band_keys(sets)
        # Texts without a word have equal keys and nothing to compare: keys of their own keep them apart.
        empty = np.asarray([number for number, found in enumerate(sets, begin) if not found.size], dtype=np.uint64)
        keys_NG[empty] = mixed(empty)[:, None]
        if progress is not None:
            progress(end, len(texts))
    return keys_NG


def _buckets(keys_N: npt.NDArray[np.uint64]) -> Iterator[list[int]]:
    """Numbers of the documents that share a key, bucket by bucket."""
    order_N = np.argsort(keys_N, kind="stable")
    sorted_N = keys_N[order_N]
    edges = [0, *(np.flatnonzero(sorted_N[1:] != sorted_N[:-1]) + 1).tolist(), keys_N.size]
    for begin, end in pairwise(edges):
        if end - begin > 1:
            yield order_N[begin:end].tolist()


def _join(bucket: list[int], comparison: "_Comparison", clusters: "_Clusters") -> None:
    """Join the members of a bucket that are alike."""
    if len(bucket) <= _COMPARED_ALL:
        for first, second in combinations(bucket, 2):
            if clusters.find(first) != clusters.find(second) and comparison.alike(first, second):
                clusters.join(first, second)
        return

    leaders: list[int] = []
    for member in bucket:
        known = {clusters.find(leader) for leader in leaders}
        if clusters.find(member) in known:
            continue

        alike = next((leader for leader in leaders if comparison.alike(member, leader)), None)
        if alike is not None:
            clusters.join(member, alike)
        elif len(leaders) < _MOST_LEADERS:
            leaders.append(member)
        else:
            comparison.passed_over += 1


class _Comparison:
    """True similarities, with what was read or found unlike lately kept at hand."""

    def __init__(self, texts: Texts, options: DedupOptions) -> None:
        self.compared = 0
        self.unlike = 0
        self.passed_over = 0
        self._texts = texts
        self._options = options
        self._cache: OrderedDict[int, Hashes] = OrderedDict()
        self._cached = 0
        self._unlike_pairs: set[tuple[int, int]] = set()

    def alike(self, first: int, second: int) -> bool:
        """Whether two documents reach the threshold."""
        pair = (min(first, second), max(first, second))
        if pair in self._unlike_pairs:
            return False

        self.compared += 1
        if self.similarity(first, second) >= self._options.threshold:
            return True

        self.unlike += 1
        if len(self._unlike_pairs) >= _REMEMBERED_PAIRS:
            self._unlike_pairs.clear()
        self._unlike_pairs.add(pair)
        return False

    def similarity(self, first: int, second: int) -> float:
        """Jaccard similarity of two documents' shingles."""
        return jaccard(self._shingles(first), self._shingles(second))

    def _shingles(self, number: int) -> Hashes:
        found = self._cache.get(number)
        if found is not None:
            self._cache.move_to_end(number)
            return found

        made = shingles(self._texts[number], self._options.shingle_units)
        self._cache[number] = made
        self._cached += made.size
        while self._cached > _CACHED_SHINGLES and len(self._cache) > 2:
            self._cached -= self._cache.popitem(last=False)[1].size
        return made


class _Clusters:
    """Union-find with path halving; the smallest number of a cluster is its root."""

    def __init__(self, size: int) -> None:
        self._parents = np.arange(size)

    def find(self, number: int) -> int:
        parents = self._parents
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = int(parents[number])
        return number

    def join(self, first: int, second: int) -> None:
        low, high = sorted((self.find(first), self.find(second)))
        self._parents[high] = low

    def several(self) -> Iterable[Sequence[int]]:
        """The clusters of more than one member."""
        members: dict[int, list[int]] = defaultdict(list)
        for number in np.flatnonzero(self._parents != np.arange(self._parents.size)).tolist():
            members[self.find(number)].append(number)
        return [[root, *others] for root, others in members.items()]
