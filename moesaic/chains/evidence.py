"""What a base has for a question: passages, the spans of them that may be cited, and how near each is.

Everything here is retrieval: no model is asked. Encoding takes most of the time, so only the spans of the best passages
are encoded (`moesaic.chains.span_vectors`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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

    @property
    def score(self) -> float:
        """The weighted sum; differences are log-odds of holding the answer."""
        weights = RagCalibration.load().span_weights
        return sum(weights[name] * value for name, value in self.features.items())


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

    @classmethod
    def gather(cls, base: KnowledgeBase, question: str, passages: int) -> Self:
        """Search the base and look at the spans of the best passages."""
        embedder = base.embedder
        scale = EmbedderScale.of(embedder, question)
        found = base.search(question, k=passages)
        candidates = candidate_spans(found)
        if not candidates:
            return cls(question=question, vectors=np.zeros((0, embedder.dimension), dtype=np.float32))

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
        order = sorted(range(len(spans)), key=lambda number: -spans[number].score)
        return cls(
            question=question,
            passages=tuple(found),
            spans=tuple(spans[number] for number in order),
            vectors=vectors[order],
            absent_share=words.absent_share,
        )

    def with_likelihoods(self, likelihoods: Sequence[float]) -> "Evidence":
        """The same with what the model gives for the first spans; the others are left out, the best come first."""
        judged = [
            replace(span, likelihood=likelihood) for span, likelihood in zip(self.spans, likelihoods, strict=False)
        ]
        order = sorted(range(len(judged)), key=lambda number: -judged[number].score)
        spans = tuple(judged[number] for number in order)
        return replace(self, spans=spans, vectors=self.vectors[order], has_likelihoods=True)

    def with_first(self, chosen: int) -> "Evidence":
        """The same with one span before all others; the others keep their order, and what they are worth."""
        order = [chosen, *(number for number in range(len(self.spans)) if number != chosen)]
        return replace(self, spans=tuple(self.spans[number] for number in order), vectors=self.vectors[order])

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
