"""Answers in the model's own words: each sentence is tied to a span and checked before anyone sees it."""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from moesaic import v1
from moesaic.chains.citation import AnswerPart, Citation
from moesaic.chains.deadline import Deadline
from moesaic.chains.evidence import Evidence, RankedSpan
from moesaic.chains.rag_options import RagOptions
from moesaic.chains.sentence_support import best_support
from moesaic.client import InferenceClient
from moesaic.retrieval import KnowledgeBase, sentences

__all__ = ["Draft", "checked_sentences"]

_SHOWN_SPANS = 8
_INSTRUCTION = (
    "Answer the question from the passages below, in one to three sentences and in the language of the question. "
    "Use nothing but what the passages say."
)
_MARKER = re.compile(r"\s*[\[【]\d+[\]】]")
_HAN_END = re.compile(r"[\u3400-\u9fff。！？；][”’」』]?\Z")


@dataclass(kw_only=True)
class Draft:
    """What has come of a generative answer so far."""

    text: str = ""
    """The sentences that are supported, in order."""
    citations: list[Citation] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    """Sentences that no span bears out."""
    started: v1.Started = field(default_factory=v1.Started)
    """Which model wrote."""


async def checked_sentences(
    client: InferenceClient,
    base: KnowledgeBase,
    evidence: Evidence,
    options: RagOptions,
    draft: Draft,
    *,
    model: str,
    deadline: Deadline,
) -> AsyncGenerator[AnswerPart, None]:
    """Have the model answer, and give each sentence that a span bears out, as soon as it is written and checked.

    Errors are those of `InferenceClient`. What was given is in `draft` too, with what was dropped.
    """
    request = v1.ChatStreamRequest(request=_request(evidence, options, model))
    written = ""
    async with aclosing(client.chat_stream(request, timeout_s=deadline.remaining_s())) as events:
        async for event in events:
            if event.HasField("started"):
                draft.started = event.started
            written += event.delta.text
            spans = sentences(written)
            for start, end in spans[:-1]:  # the last one may go on
                async for part in _checked(base, evidence, options, draft, written[start:end], deadline):
                    yield part
            if len(spans) > 1:
                written = written[spans[-1][0] :]
    for start, end in sentences(written):
        async for part in _checked(base, evidence, options, draft, written[start:end], deadline):
            yield part


async def _checked(
    base: KnowledgeBase, evidence: Evidence, options: RagOptions, draft: Draft, written: str, deadline: Deadline
) -> AsyncGenerator[AnswerPart, None]:
    """The sentence with its citation, or nothing if it must be dropped or was said before."""
    sentence = _MARKER.sub("", written).strip()
    if not sentence or sentence in draft.text:
        return

    support = await deadline.wait_for(asyncio.to_thread(best_support, base, evidence, sentence))
    if support is None or support.degree < options.min_support:
        draft.dropped.append(sentence)
        return

    gap = "" if not draft.text or _HAN_END.search(draft.text) else " "
    start = len(draft.text) + len(gap)
    citation = Citation(
        document=support.span.document,
        start=support.span.start,
        end=support.span.end,
        quote=support.span.text,
        answer_start=start,
        answer_end=start + len(sentence),
        support=round(support.degree, 4),
    )
    draft.text += gap + sentence
    draft.citations.append(citation)
    yield AnswerPart(text=gap + sentence)
    yield AnswerPart(citations=(citation,))


def _request(evidence: Evidence, options: RagOptions, model: str) -> v1.ChatRequest:
    listed = _listed(evidence.spans[:_SHOWN_SPANS])
    return v1.ChatRequest(
        model=model,
        messages=[
            v1.ChatMessage(role=v1.Role.ROLE_SYSTEM, content=_INSTRUCTION),
            v1.ChatMessage(role=v1.Role.ROLE_USER, content=f"{listed}\n\nQuestion: {evidence.question}"),
        ],
        sampling=v1.SamplingParameters(temperature=0.0, max_tokens=options.max_tokens, repetition_penalty=1.1),
    )


def _listed(spans: Sequence[RankedSpan]) -> str:
    """The spans, numbered, white space folded."""
    return "\n".join(f"[{number}] {' '.join(span.span.text.split())}" for number, span in enumerate(spans, start=1))
