"""What a base has for a question: passages, the spans of them that may be cited, and how near each is.

Everything here is retrieval: no model is asked. Encoding takes most of the time, so only the spans of the best passages
are encoded (`moesaic.chains.span_vectors`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from moesaic.chains.candidate_spans import CandidateSpan, candidate_spans
from moesaic.chains.embedder_scale import EmbedderScale
from moesaic.chains.question_words import QuestionWords, stems
from moesaic.chains.rag_calibration import RagCalibration
from moesaic.chains.span_vectors import span_vectors
from moesaic.retrieval import KnowledgeBase, Passage
from moesaic.retrieval.embedder import Vectors

__all__ = ["Evidence", "RankedSpan", "contrast"]


@dataclass(frozen=True, kw_only=True)
class RankedSpan:
    """A span that may be cited, with what speaks for it."""

    span: CandidateSpan
    heading: str
    """The headings above it."""
    similarity: float
    """Nearness of question and span, on the scale of `EmbedderScale`."""
    passage_similarity: float
    """Nearness of question and passage, on the same scale."""
    coverage: float
    """Share of the question's words in the span, by weight; 0 to 1."""
    reciprocal_rank: float
    """1 over the rank of its passage."""
    likelihood: float = 0.0
    """What the model gives for it, in nats: log P(question | span) - log P(question); 0 as long as it was not asked."""

    @property
    def features(self) -> dict[str, float]:
        """What `RagCalibration.span_weights` weighs."""
        return {
            "similarity": self.similarity,
            "passage_similarity": self.passage_similarity,
            "coverage": self.coverage,
            "reciprocal_rank": self.reciprocal_rank,
            "likelihood": self.likelihood,
        }


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The findings for one question."""

    question: str
    passages: tuple[Passage, ...] = ()
    spans: tuple[RankedSpan, ...] = ()
    """The best first."""
    vectors: Vectors
    """One for each span, in their order, [spans, dimension]."""
    absent_share: float = 0.0
    """Share of the question's words that the base never mentions."""
    has_likelihoods: bool = False
    """Whether the model was asked how likely the spans make the question."""
    calibration: RagCalibration = field(default_factory=RagCalibration.load, repr=False)
    """What the spans are weighed with."""

    @classmethod
    def gather(
        cls, base: KnowledgeBase, question: str, passages: int, calibration: RagCalibration | None = None
    ) -> Self:
        """Search the base and look at the spans of the best passages, weighed with the shipped numbers or others."""
        calibration = calibration or RagCalibration.load()
        embedder = base.embedder
        scale = EmbedderScale.of(embedder, question, calibration)
        found = base.search(question, k=passages)
        candidates = candidate_spans(found)
        if not candidates:
            nothing = np.zeros((0, embedder.dimension), dtype=np.float32)
            return cls(question=question, vectors=nothing, calibration=calibration)

        vectors = span_vectors(embedder, [span.text for span in candidates])
        cosines = vectors @ embedder.embed_queries([question])[0]
        words = QuestionWords.of(question, base, " ".join(passage.text for passage in found))
        spans = [
            RankedSpan(
                span=span,
                heading=" > ".join(found[span.passage].heading_path) or found[span.passage].title,
                similarity=scale.nearness(float(cosine), span.text),
                passage_similarity=scale.nearness(
                    found[span.passage].vector_similarity or 0.0, found[span.passage].text
                ),
                coverage=words.coverage(stems(span.text)),
                reciprocal_rank=1 / (span.passage + 1),
            )
            for span, cosine in zip(candidates, cosines, strict=True)
        ]
        gathered = cls(
            question=question,
            passages=tuple(found),
            spans=tuple(spans),
            vectors=vectors,
            absent_share=words.absent_share,
            calibration=calibration,
        )
        return gathered._ranked(spans)

    def score(self, ranked: RankedSpan) -> float:
        """What speaks for a span; differences are log-odds of holding the answer."""
        return self.calibration.span_score(ranked.features)

    def with_likelihoods(self, likelihoods: Sequence[float]) -> Self:
        """The same with what the model gives for the first spans; the others are left out, the best come first."""
        judged = [
            replace(span, likelihood=likelihood) for span, likelihood in zip(self.spans, likelihoods, strict=False)
        ]
        return replace(self._ranked(judged), has_likelihoods=True)

    def with_first(self, chosen: int) -> Self:
        """The same with one span before all others; the others keep their order, and what they are worth."""
        order = [chosen, *(number for number in range(len(self.spans)) if number != chosen)]
        return replace(self, spans=tuple(self.spans[number] for number in order), vectors=self.vectors[order])

    def _ranked(self, spans: Sequence[RankedSpan]) -> Self:
        """The same with its first spans, as they are given, and the best first."""
        order = sorted(range(len(spans)), key=lambda number: -self.score(spans[number]))
        return replace(self, spans=tuple(spans[number] for number in order), vectors=self.vectors[order])

    @property
    def features(self) -> dict[str, float]:
        """What `RagCalibration.answerable_weights` weighs; `contrast` is there if the model was asked."""
        features = {
            "similarity": max((span.similarity for span in self.spans), default=0.0),
            "absent_share": self.absent_share,
        }
        if self.has_likelihoods:
            features["contrast"] = contrast([span.likelihood for span in self.spans])
        return features


def contrast(likelihoods: Sequence[float]) -> float:
    """By how many nats the best of some spans stands out from their mean."""
    return max(likelihoods) - sum(likelihoods) / len(likelihoods) if likelihoods else 0.0
