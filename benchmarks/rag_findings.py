"""What retrieval and the model find for questions, kept so that weights can be fitted without asking again."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from rich.progress import track

from benchmarks.rag_questions import Question, hits
from moesaic.chains.embedder_scale import EmbedderScale
from moesaic.chains.evidence import Evidence
from moesaic.chains.rag_options import RagOptions
from moesaic.chains.span_likelihood import affordable, likelihoods
from moesaic.client import InferenceClient
from moesaic.retrieval import KnowledgeBase

__all__ = ["Finding", "collect"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One question, with the features of everything that was found for it."""

    id: str
    embedder: str
    """Digest of the base's embedder."""
    ends: tuple[float, float]
    """Cosines that count as 0 and 1 in the similarities below."""
    split: str
    language: str
    answerable: bool
    absent_share: float
    spans: tuple[dict[str, float], ...]
    """Features of each span that the model judged."""
    found: tuple[bool, ...]
    """Whether each of these spans answers the question."""

    @classmethod
    def read(cls, path: Path) -> list[Self]:
        """What `write` wrote."""
        values = json.loads(path.read_text(encoding="utf-8"))
        return [cls(**value | {name: tuple(value[name]) for name in ("ends", "spans", "found")}) for value in values]

    @staticmethod
    def write(path: Path, findings: "Sequence[Finding]") -> None:
        """Keep findings as JSON."""
        path.write_text(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False), encoding="utf-8")


async def collect(
    client: InferenceClient, base: KnowledgeBase, questions: Sequence[Question], options: RagOptions
) -> list[Finding]:
    """Search for each question and have the model judge the spans, as `RagChain` does."""
    findings = []
    embedder = base.embedder
    for question in track(questions, description="questions", disable=len(questions) < 5):
        evidence = Evidence.gather(base, question.text, options.passages)
        spans = affordable(evidence.spans, options.judged_spans, 300 * options.judged_spans)
        values, _ = await likelihoods(client, question.text, spans, timeout_s=600)
        judged = evidence.with_likelihoods(values)
        scale = EmbedderScale.of(embedder, question.text)
        findings.append(
            Finding(
                id=question.id,
                embedder=embedder.digest,
                ends=scale.ends["en" if scale.language == "en" else "cross"],  # the reference is in English
                split=question.split,
                language=question.language,
                answerable=question.answerable,
                absent_share=judged.absent_share,
                spans=tuple(span.features for span in judged.spans),
                found=tuple(hits(span.span, question.gold) for span in judged.spans),
            )
        )
    return findings
