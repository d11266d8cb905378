"""The probability that the retrieved passages hold an answer: a logistic regression over three robust figures.

similarity    of the nearest span, on a scale that is the same for every embedder
absent_share  of the question's words, those that the base never mentions: `NumPy` in a manual without it
contrast      by how many nats the span that the model prefers stands out from the others

Where the model was not asked, the first two have weights of their own. Absolute figures of one base would not carry
over to another; each of these is relative to the embedder, the question or the base's own words. The weights are fitted
by `python -m benchmarks.calibrate_rag`.
"""

import math

from moesaic.chains.evidence import Evidence
from moesaic.chains.rag_calibration import RagCalibration

__all__ = ["answerable_probability"]


def answerable_probability(evidence: Evidence) -> float:
    """Estimated probability, 0 to 1; 0 if nothing was found."""
    if not evidence.spans:
        return 0.0

    calibration, features = RagCalibration.load(), evidence.features
    weights = calibration.answerable_weights if evidence.has_likelihoods else calibration.unjudged_weights
    log_odds = weights["intercept"] + sum(weights[name] * value for name, value in features.items())
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, log_odds))))
