"""Fitting the weights of `RagCalibration`: which span answers, and whether any does.

- Spans: a conditional logit (McFadden, "Conditional logit analysis of qualitative choice behavior", 1974), the chance
  of a span being its share of the exponentials. Several spans may be right: their chances are added.
- Answerability: a logistic regression.
- Ends of an embedder's scale: where the nearest span lies, on average, for questions that nothing answers, and for
  those that something does.
- Both regressions by Newton's method with a ridge. Weights are held to the sign that each feature must have, one that
  would turn around is left out: with so few questions a wrong sign is noise.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.rag_findings import Finding
from moesaic.chains.evidence import contrast

__all__ = [
    "ANSWERABLE_FEATURES",
    "SPAN_FEATURES",
    "answer_ends",
    "answerable_features",
    "fit_answerable",
    "fit_spans",
    "rescaled",
    "span_scores",
]

SPAN_FEATURES = {"similarity": 1, "passage_similarity": 1, "coverage": 1, "reciprocal_rank": 1, "likelihood": 1}
"""Features of a span, and the sign that each must have."""

ANSWERABLE_FEATURES = {"similarity": 1, "absent_share": -1, "contrast": 1}
"""Features of a question, and the sign that each must have."""

_STEPS = 100
_PACE = 0.5

Matrix = NDArray[np.float64]


def fit_spans(findings: Sequence[Finding], ridge: float = 1.0) -> dict[str, float]:
    """Weight of each span feature, from the questions for which a span that answers was found."""
    names = list(SPAN_FEATURES)
    chosen = [finding for finding in findings if any(finding.found)]
    tables = [np.array([[span[name] for name in names] for span in finding.spans]) for finding in chosen]
    found = [np.array(finding.found, dtype=float) for finding in chosen]
    spread = np.concatenate(tables).std(axis=0) + 1e-9
    kept = list(range(len(names)))
    while True:
        weights = _conditional_logit([table[:, kept] / spread[kept] for table in tables], found, ridge)
        wrong = [index for index, weight in zip(kept, weights, strict=True) if weight * SPAN_FEATURES[names[index]] < 0]
        if not wrong:
            break
        kept = [index for index in kept if index not in wrong]
    fitted = dict.fromkeys(names, 0.0)
    return fitted | {names[index]: float(weight / spread[index]) for index, weight in zip(kept, weights, strict=True)}


def fit_answerable(
    findings: Sequence[Finding], importance: Sequence[float], features: Sequence[str] = (), ridge: float = 1.0
) -> dict[str, float]:
    """Weight of each feature of a question, and the intercept.

    Args:
        findings: the questions.
        importance: what each of them counts.
        features: some of `ANSWERABLE_FEATURES`; all if none are given.
        ridge: strength of the penalty on large weights.
    """
    names = list(features or ANSWERABLE_FEATURES)
    table = np.array([[answerable_features(finding)[name] for name in names] for finding in findings])
    answers = np.array([finding.answerable for finding in findings], dtype=float)
    mean, spread = table.mean(axis=0), table.std(axis=0) + 1e-9
    kept = list(range(len(names)))
    while True:
        scaled = ((table - mean) / spread)[:, kept]
        weights = _logistic(scaled, answers, np.asarray(importance), ridge)
        wrong = [i for i, weight in zip(kept, weights, strict=False) if weight * ANSWERABLE_FEATURES[names[i]] < 0]
        if not wrong:
            break
        kept = [index for index in kept if index not in wrong]
    fitted = dict.fromkeys(names, 0.0) | {
        names[index]: float(weight / spread[index]) for index, weight in zip(kept, weights, strict=False)
    }
    shift = sum(fitted[name] * mean[index] for index, name in enumerate(names))
    return fitted | {"intercept": float(weights[-1] - shift)}


def answerable_features(finding: Finding) -> dict[str, float]:
    """The features of `Evidence.features`, from what was kept."""
    return {
        "similarity": max((span["similarity"] for span in finding.spans), default=0.0),
        "absent_share": finding.absent_share,
        "contrast": contrast([span["likelihood"] for span in finding.spans]),
    }


def answer_ends(findings: Sequence[Finding], importance: Sequence[float]) -> tuple[float, float]:
    """Mean cosine of the nearest span, for questions that nothing answers, and for those that something does.

    Args:
        findings: questions in one language, with one embedder.
        importance: what each of them counts.
    """
    cosines = np.array([_cosine(each, answerable_features(each)["similarity"]) for each in findings])
    answers = np.array([each.answerable for each in findings])
    weights = np.asarray(importance)
    low, high = (
        float(np.average(cosines[answers == kind], weights=weights[answers == kind])) for kind in (False, True)
    )
    return low, high


def rescaled(finding: Finding, ends: tuple[float, float]) -> Finding:
    """The same finding on a scale with other ends."""
    low, high = ends
    changed = ("similarity", "passage_similarity")
    spans = tuple(
        span | {name: (_cosine(finding, span[name]) - low) / (high - low) for name in changed} for span in finding.spans
    )
    return replace(finding, spans=spans, ends=ends)


def _cosine(finding: Finding, nearness: float) -> float:
    low, high = finding.ends
    return nearness * (high - low) + low


def span_scores(finding: Finding, weights: dict[str, float]) -> Matrix:
    """Score of each span."""
    return np.array([sum(weights[name] * span[name] for name in weights) for span in finding.spans])


def _conditional_logit(tables: Sequence[Matrix], found: Sequence[Matrix], ridge: float) -> Matrix:
    width = tables[0].shape[1]
    weights = np.zeros(width)
    for _ in range(_STEPS):
        slope, curve = -ridge * weights, np.eye(width) * ridge
        for table, right in zip(tables, found, strict=True):
            scores = table @ weights
            chance = np.exp(scores - scores.max())
            chance /= chance.sum()
            wanted = chance * right / (chance * right).sum()
            mean = table.T @ chance
            slope += table.T @ (wanted - chance)
            curve += (table.T * chance) @ table - np.outer(mean, mean)
        weights = weights + _PACE * np.linalg.solve(curve, slope)
    return weights


def _logistic(table: Matrix, answers: Matrix, importance: Matrix, ridge: float) -> Matrix:
    """Weights, the last of which is the intercept; the ridge spares it."""
    widened = np.column_stack([table, np.ones(len(table))])
    penalty = np.eye(widened.shape[1]) * ridge
    penalty[-1, -1] = 0.0
    weights = np.zeros(widened.shape[1])
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-widened @ weights))
        slope = widened.T @ (importance * (answers - chance)) - penalty @ weights
        curve = (widened.T * (importance * chance * (1 - chance))) @ widened + penalty
        weights = weights + _PACE * np.linalg.solve(curve, slope)
    return weights
