"""Ends of an embedder's scale, fitted: where the nearest span lies, for questions with an answer and without."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from moesaic.training.calibration import Finding

__all__ = ["answer_ends", "rescaled"]


def answer_ends(findings: Sequence[Finding]) -> tuple[float, float]:
    """Mean cosine of the nearest span, for questions that nothing answers, and for those that something does.

    Args:
        findings: questions in one language, with one embedder.
    """
    cosines = np.array([_cosine(each, each.features["similarity"]) for each in findings])
    answers = np.array([each.answerable for each in findings])
    weights = np.array([each.weight for each in findings])
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
