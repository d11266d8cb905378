"""How well a span bears out a sentence that a model wrote.

Half of it is nearness in meaning, half the share of the sentence's words that the span has. A number that the sentence
has and the span lacks ends it: figures are what small models invent most readily. So do too few words to tell by. This
measures whether a sentence stays with its source, not whether it follows from it: a `not` too many is not noticed.
"""

import re
from typing import NamedTuple

from moesaic.chains.candidate_spans import CandidateSpan
from moesaic.chains.embedder_scale import EmbedderScale
from moesaic.chains.evidence import Evidence
from moesaic.chains.question_words import stems
from moesaic.retrieval import KnowledgeBase
from moesaic.retrieval.query_words import query_words

__all__ = ["Support", "best_support"]

_FEWEST_WORDS = 3
_NUMBER = re.compile(r"\d+(?:\.\d+)*")


class Support(NamedTuple):
    """The span that supports a sentence best, and how well, 0 to 1."""

    span: CandidateSpan
    degree: float


def best_support(base: KnowledgeBase, evidence: Evidence, sentence: str) -> Support | None:
    """What supports a sentence best; None if nothing does."""
    scale = EmbedderScale.of(base.embedder, sentence, evidence.calibration)
    cosines = evidence.vectors @ base.embedder.embed_queries([sentence])[0]
    words = stems(" ".join(query_words(sentence)))
    numbers = set(_NUMBER.findall(sentence))
    supports = [
        Support(ranked.span, _degree(ranked.span.text, words, numbers, scale.nearness(float(cosine), ranked.span.text)))
        for ranked, cosine in zip(evidence.spans, cosines, strict=True)
    ]
    best = max(supports, key=lambda support: support.degree, default=None)
    return best if best is not None and best.degree > 0 else None


def _degree(text: str, words: frozenset[str], numbers: set[str], similarity: float) -> float:
    if len(words) < _FEWEST_WORDS or not numbers <= set(_NUMBER.findall(text)):
        return 0.0

    shared = len(words & stems(text)) / len(words)
    return (min(1.0, max(0.0, similarity)) + shared) / 2
