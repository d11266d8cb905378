"""The probability that the retrieved passages hold an answer: a logistic regression over three robust figures.

similarity    of the nearest span, on a scale that is the same for every embedder
absent_share  of the question's words, those that the base never mentions: `NumPy` in a manual without it
contrast      by how many nats the span that the model prefers stands out from the others

Where the model was not asked, the first two have weights of their own. Absolute figures of one base would not carry
over to another; each of these is relative to the embedder, the question or the base's own words. The weights are in
`RagCalibration`.
"""

from moesaic.chains.evidence import Evidence

__all__ = ["answerable_probability"]


def answerable_probability(evidence: Evidence) -> float:
    """Estimated probability, 0 to 1; 0 if nothing was found."""
    return evidence.calibration.answer_probability(evidence.features) if evidence.spans else 0.0
