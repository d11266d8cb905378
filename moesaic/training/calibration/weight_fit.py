"""The regressions of a calibration: which span answers, and whether any does.

- Spans: a conditional logit (McFadden, "Conditional logit analysis of qualitative choice behavior", 1974), the chance
  of a span being its share of the exponentials. Several spans may be right: their chances are added.
- Answerability: a logistic regression.
- Both by Newton's method with a ridge, which pulls weights to where they begin: to 0, or to those of an earlier fit, so
  that a few questions move them a little. Features are scaled to unit spread. Weights are held to the sign that each
  feature must have, one that would turn around is left out: with so few questions a wrong sign is noise.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from moesaic.training.calibration.finding import Finding

__all__ = ["ANSWERABLE_FEATURES", "SPAN_FEATURES", "fit_answerable", "fit_spans", "span_scores"]

SPAN_FEATURES = {"similarity": 1, "passage_similarity": 1, "coverage": 1, "reciprocal_rank": 1, "likelihood": 1}
"""Features of a span, and the sign that each must have."""

ANSWERABLE_FEATURES = {"similarity": 1, "absent_share": -1, "contrast": 1}
"""Features of a question, and the sign that each must have."""

_MOST_STEPS = 100
_PACE = 0.5
_STILL = 1e-7

Matrix = NDArray[np.float64]


def fit_spans(
    findings: Sequence[Finding], *, start: Mapping[str, float] | None = None, ridge: float = 1.0
) -> dict[str, float]:
    """Weight of each span feature, from the questions for which a span that answers was found.

    Args:
        findings: the questions, at least one of them with such a span.
        start: weights that the ridge pulls to; 0 if none are given.
        ridge: its strength, in nats for a weight of 1 on a feature of unit spread.
    """
    names = list(SPAN_FEATURES)
    chosen = [finding for finding in findings if any(finding.found)]
    tables = [np.array([[span[name] for name in names] for span in finding.spans]) for finding in chosen]
    found = [np.array(finding.found, dtype=float) for finding in chosen]
    spread = np.concatenate(tables).std(axis=0) + 1e-9
    began = np.array([(start or {}).get(name, 0.0) for name in names]) * spread
    kept = list(range(len(names)))
    while True:
        weights = _conditional_logit([table[:, kept] / spread[kept] for table in tables], found, began[kept], ridge)
        wrong = [index for index, weight in zip(kept, weights, strict=True) if weight * SPAN_FEATURES[names[index]] < 0]
        if not wrong:
            break
        kept = [index for index in kept if index not in wrong]
    fitted = dict.fromkeys(names, 0.0)
    return fitted | {names[index]: float(weight / spread[index]) for index, weight in zip(kept, weights, strict=True)}


def fit_answerable(
    findings: Sequence[Finding],
    features: Sequence[str] = tuple(ANSWERABLE_FEATURES),
    *,
    start: Mapping[str, float] | None = None,
    ridge: float = 1.0,
) -> dict[str, float]:
    """Weight of each feature of a question, and the intercept, which the ridge pulls only if it has where to.

    Args:
        findings: the questions, both with an answer and without.
        features: some of `ANSWERABLE_FEATURES`.
        start: weights that the ridge pulls to; 0 if none are given.
        ridge: its strength, as in `fit_spans`.
    """
    names = list(features)
    table = np.array([[finding.features[name] for name in names] for finding in findings])
    answers = np.array([finding.answerable for finding in findings], dtype=float)
    counts = np.array([finding.weight for finding in findings])
    mean, spread = table.mean(axis=0), table.std(axis=0) + 1e-9
    began = np.array([(start or {}).get(name, 0.0) for name in names]) * spread
    middle = None if start is None else start["intercept"] + float((began / spread) @ mean)
    kept = list(range(len(names)))
    while True:
        weights = _logistic(((table - mean) / spread)[:, kept], answers, counts, began[kept], middle, ridge)
        wrong = [i for i, weight in zip(kept, weights, strict=False) if weight * ANSWERABLE_FEATURES[names[i]] < 0]
        if not wrong:
            break
        kept = [index for index in kept if index not in wrong]
    fitted = dict.fromkeys(names, 0.0) | {
        names[index]: float(weight / spread[index]) for index, weight in zip(kept, weights, strict=False)
    }
    shift = sum(fitted[name] * mean[index] for index, name in enumerate(names))
    return fitted | {"intercept": float(weights[-1] - shift)}


def span_scores(finding: Finding, weights: Mapping[str, float]) -> Matrix:
    """Score of each span."""
    return np.array([sum(weights[name] * span[name] for name in weights) for span in finding.spans])


def _conditional_logit(tables: Sequence[Matrix], found: Sequence[Matrix], began: Matrix, ridge: float) -> Matrix:
    weights = began.copy()
    for _ in range(_MOST_STEPS):
        slope, curve = -ridge * (weights - began), np.eye(len(began)) * ridge
        for table, right in zip(tables, found, strict=True):
            scores = table @ weights
            chance = np.exp(scores - scores.max())
            chance /= chance.sum()
            wanted = chance * right / max((chance * right).sum(), np.finfo(float).tiny)
            mean = table.T @ chance
            slope += table.T @ (wanted - chance)
            curve += (table.T * chance) @ table - np.outer(mean, mean)
        step = _PACE * np.linalg.solve(curve, slope)
        weights = weights + step
        if np.abs(step).max(initial=0.0) < _STILL:
            break
    return weights


def _logistic(
    table: Matrix, answers: Matrix, counts: Matrix, began: Matrix, middle: float | None, ridge: float
) -> Matrix:
    """Weights, the last of which is the intercept; the ridge spares it if it began nowhere."""
    widened = np.column_stack([table, np.ones(len(table))])
    penalty = np.eye(widened.shape[1]) * ridge
    penalty[-1, -1] *= middle is not None
    weights = start = np.append(began, middle or 0.0)
    for _ in range(_MOST_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(widened @ weights, -50, 50)))
        slope = widened.T @ (counts * (answers - chance)) - penalty @ (weights - start)
        curve = (widened.T * (counts * chance * (1 - chance))) @ widened + penalty
        step = _PACE * np.linalg.solve(curve, slope)
        weights = weights + step
        if np.abs(step).max(initial=0.0) < _STILL:
            break
    return weights
