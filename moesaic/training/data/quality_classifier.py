"""A quality classifier that is trained here: logistic regression on hashed n-grams, curated texts against raw ones.

GPT-3 (Brown et al. 2020, arXiv:2005.14165, appendix A) keeps a document if numpy.random.pareto(9) > 1 - score, so
that some of what the classifier dislikes stays. How this differs: 1. features are words and pairs of words, of Chinese
characters and pairs of them, each counted as the square root of its share of the text, so that length does not decide;
2. training is Adagrad (Duchi et al. 2011) in batches, deterministic by seed; 3. a tenth of the texts of each kind is
held out, and what the classifier does to them is kept with it.

Legend: K buckets, N texts.
"""

import json
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from moesaic.errors import CorpusError, RecipeError
from moesaic.training.data.durable import written_file
from moesaic.training.data.ngram_distribution import Floats, buckets_of

__all__ = ["ClassifierOptions", "HeldOutScores", "QualityClassifier", "keep_noisily"]

_FORMAT = "moesaic-quality-classifier-1"
_HELD_OUT = 10
_FEWEST = 10
_BATCH_TEXTS = 64
_STEP = 0.5

_Features = tuple[npt.NDArray[np.int64], Floats]


@dataclass(frozen=True, kw_only=True)
class ClassifierOptions:
    """How the classifier is trained."""

    buckets: int = 1 << 18
    """Hash buckets of features."""
    passes: int = 20
    """How often the training texts are passed through."""
    l2: float = 1e-4
    """Weight of the squared weights in the loss."""
    seed: int = 0
    """Determines the order of the texts."""

    def __post_init__(self) -> None:
        """Refuse values that train nothing."""
        if not (2 <= self.buckets <= 1 << 26 and 1 <= self.passes <= 1000):
            raise RecipeError(f"buckets={self.buckets!r} must be 2 to {1 << 26}, passes={self.passes!r} 1 to 1000")

        if not 0 <= self.l2 < float("inf"):
            raise RecipeError(f"l2={self.l2!r} must be at least 0")


@dataclass(frozen=True, kw_only=True)
class HeldOutScores:
    """What the classifier does to texts that it was not trained on."""

    texts: int
    accuracy: float
    """Share of texts on the right side of one half."""
    auc: float
    """How often a curated text has a higher score than a raw one."""
    log_loss: float
    """Mean negative logarithm of the probability of the truth, in nats; 0.69 for a classifier that knows nothing."""


class QualityClassifier:
    """Scores texts from 0 (like the raw ones) to 1 (like the curated ones)."""

    def __init__(self, weights_K: Floats, bias: float, held_out: HeldOutScores) -> None:
        self.held_out = held_out
        self._weights_K = weights_K
        self._bias = bias

    @classmethod
    def train(
        cls,
        curated: Sequence[str],
        raw: Sequence[str],
        options: ClassifierOptions | None = None,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> Self:
        """Train on two kinds of texts.

        Args:
            curated: texts of the wanted quality.
            raw: texts as they come; some of them may be good.
            options: how.
            progress: called with passes done and all.

        Raises:
            CorpusError: there are fewer than ten texts of a kind.
        """
        options = options or ClassifierOptions()
        if min(len(curated), len(raw)) < _FEWEST:
            raise CorpusError(
                f"there are {len(curated)} curated and {len(raw)} raw texts, needed are {_FEWEST} of each: give more"
            )

        labelled = [(_features(text, options.buckets), 1.0) for text in curated]
        labelled += [(_features(text, options.buckets), 0.0) for text in raw]
        numbers = [*range(len(curated)), *range(len(raw))]
        test = [pair for number, pair in zip(numbers, labelled, strict=True) if number % _HELD_OUT == 0]
        train = [pair for number, pair in zip(numbers, labelled, strict=True) if number % _HELD_OUT]
        weights_K, bias = _fitted(train, options, progress)
        scores = [_probability(weights_K, bias, features) for features, _ in test]
        return cls(weights_K, bias, _measured(np.asarray(scores), np.asarray([label for _, label in test])))

    def score(self, text: str) -> float:
        """Probability that a text is a curated one; a text without words scores as the two kinds' mixture."""
        return _probability(self._weights_K, self._bias, _features(text, self._weights_K.size))

    def save(self, path: Path) -> None:
        """Write the classifier to one file."""
        facts = {"format": _FORMAT, "bias": self._bias, "held_out": asdict(self.held_out)}
        with written_file(path) as file:
            np.savez_compressed(file, weights=self._weights_K.astype(np.float32), facts=np.asarray(json.dumps(facts)))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            CorpusError: it is not there, or no classifier.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
                weights_K = content["weights"].astype(np.float64)
                facts: dict[str, Any] = json.loads(str(content["facts"]))
            if facts["format"] != _FORMAT:
                raise KeyError(facts["format"])

            return cls(weights_K, float(facts["bias"]), HeldOutScores(**facts["held_out"]))
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise CorpusError(f"{path} is no quality classifier ({error}): train one anew") from error


def keep_noisily(score: float, generator: np.random.Generator, shape: float = 9.0) -> bool:
    """Whether a text of this score stays: always if it is 1, sometimes whatever it is."""
    return bool(generator.pareto(shape) > 1 - score)


def _features(text: str, buckets: int) -> _Features:
    """Buckets of a text's n-grams, each once, and their values."""
    found, counts = np.unique(buckets_of(text, buckets=buckets), return_counts=True)
    return found, np.sqrt(counts / max(1, counts.sum()))


def _fitted(
    train: list[tuple[_Features, float]], options: ClassifierOptions, progress: Callable[[int, int], None] | None
) -> tuple[Floats, float]:
    weights_K, squares_K = np.zeros(options.buckets), np.full(options.buckets, 1e-8)
    positive = sum(label for _, label in train) / len(train)
    bias = float(np.log(positive / (1 - positive)))
    generator = np.random.default_rng(options.seed)
    for number in range(options.passes):
        order = generator.permutation(len(train))
        for begin in range(0, len(train), _BATCH_TEXTS):
            batch = [train[place] for place in order[begin : begin + _BATCH_TEXTS]]
            errors = [_probability(weights_K, bias, features) - label for features, label in batch]
            buckets = np.concatenate([features[0] for features, _ in batch])
            slopes = np.concatenate([features[1] * error for (features, _), error in zip(batch, errors, strict=True)])
            touched, inverse = np.unique(buckets, return_inverse=True)
            slope = np.bincount(inverse, weights=slopes, minlength=touched.size) / len(batch)
            slope += options.l2 * weights_K[touched]
            squares_K[touched] += slope**2
            weights_K[touched] -= _STEP * slope / np.sqrt(squares_K[touched])
            bias -= _STEP * float(np.mean(errors)) / np.sqrt(1 + number)
        if progress is not None:
            progress(number + 1, options.passes)
    return weights_K, bias


def _probability(weights_K: Floats, bias: float, features: _Features) -> float:
    buckets, values = features
    return float(1 / (1 + np.exp(-np.clip(weights_K[buckets] @ values + bias, -60, 60))))


def _measured(scores_N: Floats, labels_N: Floats) -> HeldOutScores:
    curated, raw = scores_N[labels_N == 1], scores_N[labels_N == 0]
    raw = np.sort(raw)
    # Ties count half: the mean of the places before and after the equal ones.
    above = (np.searchsorted(raw, curated, "left") + np.searchsorted(raw, curated, "right")).mean() / 2 / raw.size
    truth_N = np.clip(np.where(labels_N == 1, scores_N, 1 - scores_N), 1e-12, 1)
    return HeldOutScores(
        texts=int(scores_N.size),
        accuracy=float(((scores_N >= 0.5) == (labels_N == 1)).mean()),
        auc=float(above),
        log_loss=float(-np.log(truth_N).mean()),
    )
