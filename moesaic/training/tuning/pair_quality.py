"""How good the probabilities of a classifier of pairs are, and the line that makes them honest."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from moesaic.errors import CorpusError

__all__ = ["Calibration", "PairQuality", "chances_of", "fit_calibration", "pair_quality"]

_BINS = 10
_STEPS = 100
_RIDGE = 1e-6


@dataclass(frozen=True, kw_only=True)
class PairQuality:
    """Figures over labelled pairs."""

    pairs: int
    positive_share: float
    """Of the pairs that belong together: always saying so is right for this share."""
    accuracy: float
    """Share that 0.5 tells apart rightly."""
    auc: float
    """Probability that a pair that belongs together is above one that does not; ties count half."""
    log_loss: float
    """Mean negative log-probability of the truth, in nats."""
    calibration_error: float
    """Mean difference between what is said and what is so, over ten equal bins of probability."""

    def to_json(self) -> dict[str, Any]:
        """The figures as plain JSON values."""
        return asdict(self)


class Calibration(NamedTuple):
    """The line that log-odds are moved by: slope * log-odds + shift."""

    slope: float
    shift: float


def chances_of(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logistic function, of numbers of any size."""
    return np.asarray(np.exp(-np.logaddexp(0, -log_odds)))


def pair_quality(log_odds: NDArray[np.float64], belongs: Sequence[bool]) -> PairQuality:
    """The figures of log-odds [n].

    Raises:
        CorpusError: the pairs are all of one kind, so that there is nothing to tell apart.
    """
    labels = _labels(belongs)
    chances = chances_of(log_odds)
    bins = np.minimum((chances * _BINS).astype(int), _BINS - 1)
    gaps = [
        abs(float(chances[bins == place].mean() - labels[bins == place].mean())) * float((bins == place).mean())
        for place in range(_BINS)
        if (bins == place).any()
    ]
    return PairQuality(
        pairs=len(labels),
        positive_share=float(labels.mean()),
        accuracy=float(((log_odds > 0) == labels).mean()),
        auc=_auc(log_odds, labels),
        log_loss=_log_loss(log_odds, labels),
        calibration_error=sum(gaps),
    )


def fit_calibration(log_odds: NDArray[np.float64], belongs: Sequence[bool]) -> Calibration:
    """The line that makes log-odds [n] likeliest, by Newton's method.

    Platt, "Probabilistic Outputs for Support Vector Machines" (1999), section 2.2. How this differs: labels are not
    smoothed; a tiny ridge towards slope 1 keeps the line finite where the pairs are told apart perfectly.

    Raises:
        CorpusError: the pairs are all of one kind.
    """
    labels = _labels(belongs).astype(np.float64)
    inputs_N2 = np.stack([log_odds, np.ones_like(log_odds)], axis=1)
    line_2, prior_2 = np.array([1.0, 0.0]), np.array([1.0, 0.0])
    ridge = max(_RIDGE, 1.0 / len(labels)) * np.eye(2)
    for _ in range(_STEPS):
        chances = chances_of(inputs_N2 @ line_2)
        gradient_2 = inputs_N2.T @ (chances - labels) / len(labels) + ridge @ (line_2 - prior_2)
        curvature_22 = (inputs_N2 * (chances * (1 - chances))[:, None]).T @ inputs_N2 / len(labels) + ridge
        step_2 = np.linalg.solve(curvature_22, gradient_2)
        step_2 *= min(1.0, 2.0 / max(float(np.abs(step_2).max()), 1e-12))
        line_2 = line_2 - step_2
        if np.abs(step_2).max() < 1e-10:
            break
    return Calibration(slope=float(line_2[0]), shift=float(line_2[1]))


def _labels(belongs: Sequence[bool]) -> NDArray[np.bool_]:
    labels = np.asarray(belongs, dtype=np.bool_)
    if labels.all() or not labels.any():
        raise CorpusError(
            f"all {len(labels)} pairs are of one kind; give some that belong together and some that do not"
        )
    return labels


def _auc(log_odds: NDArray[np.float64], labels: NDArray[np.bool_]) -> float:
    """By ranks (Mann & Whitney), those of equal values averaged."""
    _, inverse, counts = np.unique(log_odds, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positive, negative = int(labels.sum()), int((~labels).sum())
    return float((ranks[labels].sum() - positive * (positive + 1) / 2) / (positive * negative))


def _log_loss(log_odds: NDArray[np.float64], labels: NDArray[np.bool_]) -> float:
    return float(np.logaddexp(0, np.where(labels, -log_odds, log_odds)).mean())
