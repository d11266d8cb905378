"""Answers made of spans: nothing that the documents do not say can be said."""

import math

from moesaic.chains.citation import Citation
from moesaic.chains.evidence import Evidence
from moesaic.chains.rag_options import RagOptions

__all__ = ["SEPARATOR", "extract"]

SEPARATOR = "\n\n"
"""Between the spans of an answer."""


def extract(evidence: Evidence, options: RagOptions) -> list[Citation]:
    """The best spans as citations; the answer is their quotes, one after the other with `SEPARATOR` between them.

    A span that overlaps one that was taken is left out, and so is one whose odds are too far below the best one's.
    """
    citations: list[Citation] = []
    position = 0
    for ranked in evidence.spans:
        span = ranked.span
        if len(citations) == options.max_citations:
            break
        if math.exp(evidence.score(ranked) - evidence.score(evidence.spans[0])) < options.citation_share:
            break
        if any(c.document == span.document and c.start < span.end and span.start < c.end for c in citations):
            continue
        citations.append(
            Citation(
                document=span.document,
                start=span.start,
                end=span.end,
                quote=span.text,
                answer_start=position,
                answer_end=position + len(span.text),
                support=1.0,
            )
        )
        position += len(span.text) + len(SEPARATOR)
    return citations
