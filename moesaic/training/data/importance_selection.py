"""DSIR: the part of a raw corpus that is distributed like a target, by importance resampling of hashed n-grams.

Xie et al. 2023, "Data Selection for Language Models via Importance Resampling", arXiv:2302.03169, sections 3 and 4:
with p the distribution of the target's n-grams over hash buckets and q that of the raw corpus, a document's weight is
log w = sum over its n-grams of log p - log q, and the k documents of largest log w + Gumbel(0, 1) are a sample without
replacement.

How this differs:
1. Units are words, punctuation runs, and single characters of Chinese, so that its n-grams are characters and pairs.
2. The target is smoothed towards the raw corpus (a Dirichlet prior of `smoothing` x K counts) rather than by a constant
   in every bucket: an n-gram that a small target happens to lack counts against a document, but equally so whether it
   is frequent or rare. A constant would make rare n-grams count for a document.
3. A share of the target (a fifth) is held out of p, and KL reduction is measured on it (section 5 of the paper
   measures on the target itself), against random samples of the same size: a small sample lies further from any target
   than a large one, whatever is in it, so that the distance of the whole raw corpus is no measure of a selection.
4. A weight is that of a document of median length: the mean over the n-grams, times the median of their number. For
   documents of one length, as the paper cuts them, that is the sum; otherwise a sum below 0, which most documents of a
   raw corpus near the target have, would choose the shortest ones. `length_neutral=False` is the sum.
5. Two passes over the raw texts and one number per document: the corpus may be larger than memory.

Legend: K buckets, N raw documents.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from moesaic.errors import CorpusError, RecipeError
from moesaic.training.data.near_duplicates import Texts
from moesaic.training.data.ngram_distribution import Floats, buckets_of, kl_divergence, ngram_counts, smoothed

__all__ = ["ImportanceSelection", "SelectOptions", "select_by_importance"]

_HELD_OUT = 5
"""Every so-manyth target text is held out."""
_MEASURED_SMOOTHING = 1.0
_RANDOM_DRAWS = 5


@dataclass(frozen=True, kw_only=True)
class SelectOptions:
    """How documents are selected."""

    keep: float = 0.5
    """Share of the raw documents that stays: above 0, at most 1."""
    buckets: int = 10_000
    """Hash buckets of n-grams; the paper's number."""
    longest: int = 2
    """Units of the longest n-gram."""
    smoothing: float = 0.1
    """Counts of the raw distribution, per bucket, that are added to the target's; above 0."""
    length_neutral: bool = True
    """Whether weights are those of documents of one length, so that long and short ones are chosen alike."""
    seed: int = 0
    """Determines the Gumbel noise."""

    def __post_init__(self) -> None:
        """Refuse values that select nothing."""
        if not 0 < self.keep <= 1:
            raise RecipeError(f"keep={self.keep!r} must be above 0 and at most 1: the share of documents that stays")

        if not (2 <= self.buckets <= 1 << 24 and 1 <= self.longest <= 8):
            raise RecipeError(f"buckets={self.buckets!r} must be 2 to {1 << 24}, longest={self.longest!r} 1 to 8")

        if not 0 < self.smoothing < float("inf"):
            raise RecipeError(f"smoothing={self.smoothing!r} must be above 0")


@dataclass(frozen=True, kw_only=True)
class ImportanceSelection:
    """What was selected, and how much nearer to the target it lies."""

    chosen: tuple[int, ...]
    """Numbers of the documents that stay, rising."""
    log_weights: Floats
    """log w of every raw document, without noise [N]."""
    kl_raw: float
    """KL(held-out target || raw), in nats."""
    kl_selected: float
    """KL(held-out target || selected)."""
    kl_random: float
    """KL(held-out target || random documents), of as many documents; mean of five draws."""

    @property
    def kl_reduction(self) -> float:
        """How much nearer than the raw corpus the selected documents are to the target, in nats."""
        return self.kl_raw - self.kl_selected

    @property
    def kl_reduction_against_random(self) -> float:
        """How much nearer than random documents they are, in nats."""
        return self.kl_random - self.kl_selected

    def to_json(self) -> dict[str, Any]:
        """The numbers as plain JSON values."""
        value = asdict(self)
        del value["chosen"], value["log_weights"]
        return value | {
            "selected": len(self.chosen),
            "kl_reduction": self.kl_reduction,
            "kl_reduction_against_random": self.kl_reduction_against_random,
        }


def select_by_importance(
    raw: Texts,
    target: Sequence[str],
    options: SelectOptions | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> ImportanceSelection:
    """Select the documents of `raw` that are distributed like `target`.

    Args:
        raw: texts by number; read several times.
        target: texts of the wanted kind, at least two.
        options: how many, and how they are compared.
        progress: called with texts done and all.

    Raises:
        CorpusError: there are no raw documents, or fewer than two target texts with words in them.
    """
    options = options or SelectOptions()
    wanted = [text for text in target if buckets_of(text, buckets=options.buckets, longest=1).size]
    if len(wanted) < 2 or not len(raw):
        raise CorpusError(
            f"selection needs raw documents and at least two target texts (there are {len(raw)} and {len(wanted)}): "
            "give more"
        )

    def counts(texts: Iterable[str]) -> Floats:
        return ngram_counts(texts, buckets=options.buckets, longest=options.longest)

    held_out_K = counts(wanted[::_HELD_OUT])
    fitted_K = counts(text for number, text in enumerate(wanted) if number % _HELD_OUT)
    raw_K = counts(raw[number] for number in range(len(raw)))
    ratios_K = _log_ratios(fitted_K, raw_K, options.smoothing * options.buckets)
    log_weights_N = _log_weights(raw, ratios_K, options, progress)

    generator = np.random.default_rng(options.seed)
    size = max(1, round(options.keep * len(raw)))
    perturbed_N = log_weights_N + generator.gumbel(size=len(raw))
    chosen = np.sort(np.argsort(-perturbed_N, kind="stable")[:size])
    target_K = held_out_K / held_out_K.sum()

    def distance(counts_K: Floats) -> float:
        return kl_divergence(target_K, smoothed(counts_K, _MEASURED_SMOOTHING))

    draws = [generator.choice(len(raw), size, replace=False) for _ in range(_RANDOM_DRAWS)]
    return ImportanceSelection(
        chosen=tuple(chosen.tolist()),
        log_weights=log_weights_N,
        kl_raw=distance(raw_K),
        kl_selected=distance(counts(raw[number] for number in chosen.tolist())),
        kl_random=float(np.mean([distance(counts(raw[number] for number in draw.tolist())) for draw in draws])),
    )


def _log_ratios(target_K: Floats, raw_K: Floats, prior: float) -> Floats:
    """The logarithm of p over q, with p drawn towards q by `prior` counts; 0 for buckets that no raw document has."""
    there_K = raw_K > 0
    q_K = raw_K[there_K] / max(1.0, raw_K.sum())
    target_K = target_K[there_K]
    ratios_K = np.zeros(raw_K.size)
    ratios_K[there_K] = np.log((target_K + prior * q_K) / ((target_K.sum() + prior) * q_K))
    return ratios_K


def _log_weights(
    raw: Texts, ratios_K: Floats, options: SelectOptions, progress: Callable[[int, int], None] | None
) -> npt.NDArray[np.float64]:
    weights_N, counts_N = np.zeros(len(raw)), np.zeros(len(raw))
    for number in range(len(raw)):
        found = buckets_of(raw[number], buckets=options.buckets, longest=options.longest)
        weights_N[number], counts_N[number] = ratios_K[found].sum(), found.size
        if progress is not None:
            progress(number + 1, len(raw))
    if not options.length_neutral:
        return weights_N

    # A text without n-grams says nothing for itself: it comes last.
    means_N = np.divide(weights_N, counts_N, out=np.full(len(raw), ratios_K.min()), where=counts_N > 0)
    return means_N * max(1.0, float(np.median(counts_N)))
