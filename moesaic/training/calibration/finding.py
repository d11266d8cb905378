"""What retrieval and the model find for questions, kept so that weights can be fitted without asking again."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from moesaic.chains.embedder_scale import EmbedderScale
from moesaic.chains.evidence import Evidence, contrast
from moesaic.chains.rag_options import RagOptions
from moesaic.chains.span_likelihood import affordable, likelihoods
from moesaic.client import InferenceClient
from moesaic.retrieval import KnowledgeBase
from moesaic.retrieval.gold_span import hits
from moesaic.training.tuning.grounded_question import GroundedQuestion

__all__ = ["Finding", "collect"]

_TIMEOUT_S = 600.0


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One question, with the features of everything that was found for it."""

    question: str
    answerable: bool
    absent_share: float
    spans: tuple[dict[str, float], ...]
    """Features of each span that the model judged."""
    found: tuple[bool, ...]
    """Whether each of these spans answers the question."""
    embedder: str
    """Digest of the base's embedder."""
    language: str
    """Of the question: `en` or `zh`."""
    ends: tuple[float, float]
    """Cosines that count as 0 and 1 in the similarities, for spans in English."""
    weight: float = 1.0
    """What it counts when it is asked whether anything answers."""

    @property
    def features(self) -> dict[str, float]:
        """Those of `Evidence.features`."""
        return {
            "similarity": max((span["similarity"] for span in self.spans), default=0.0),
            "absent_share": self.absent_share,
            "contrast": contrast([span["likelihood"] for span in self.spans]),
        }

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
    client: InferenceClient,
    base: KnowledgeBase,
    questions: Sequence[GroundedQuestion],
    options: RagOptions,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[Finding]:
    """Search for each question and have the model judge the spans, as `RagChain` does.

    Raises what searching a `KnowledgeBase` raises, and what `InferenceClient` raises.
    """
    findings = []
    for number, question in enumerate(questions, start=1):
        evidence = await asyncio.to_thread(Evidence.gather, base, question.text, options.passages, options.calibration)
        spans = affordable(evidence.spans, options.judged_spans)
        if spans:
            values, _ = await likelihoods(client, question.text, spans, timeout_s=_TIMEOUT_S)
            evidence = evidence.with_likelihoods(values)
        scale = EmbedderScale.of(base.embedder, question.text, options.calibration)
        findings.append(
            Finding(
                question=question.text,
                answerable=bool(question.gold),
                absent_share=evidence.absent_share,
                spans=tuple(span.features for span in evidence.spans),
                found=tuple(hits(span.span, question.gold) for span in evidence.spans),
                embedder=base.embedder.digest,
                language=scale.language,
                ends=scale.ends["en" if scale.language == "en" else "cross"],
            )
        )
        if progress is not None:
            progress(number, len(questions))
    return findings
