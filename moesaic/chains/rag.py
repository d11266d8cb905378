"""`RagChain`: questions answered from a knowledge base, with citations, or declined.

    chain = RagChain(base=KnowledgeBase.open("kb/guide"), target="127.0.0.1:50051")
    answer = chain.invoke("How do I install it?")
    for citation in answer.citations:
        base.text(citation.document)[citation.start : citation.end] == citation.quote

    async for part in chain.astream("How do I install it?"):
        part.text, part.citations, part.answer          # new text, new citations, and at last the whole answer

- Passages are retrieved, divided into spans of at most 300 characters, and ranked; the model judges the best of them.
- A question whose score is below the threshold is declined before a word is said.
- One deadline covers retrieval, judging and writing; cancelling a call, or leaving a stream, ends what the server does.
- Written once, asynchronously; `invoke` and `stream` run it on a loop of their own (`moesaic.chains.blocking_events`).
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.runnables import RunnableConfig, RunnableSerializable
from pydantic import PrivateAttr

from moesaic.chains.answerability import answerable_probability
from moesaic.chains.blocking_events import blocking_events
from moesaic.chains.citation import AnswerPart, CitedAnswer
from moesaic.chains.deadline import Deadline
from moesaic.chains.evidence import Evidence
from moesaic.chains.extractive import SEPARATOR, extract
from moesaic.chains.generative import Draft, checked_sentences
from moesaic.chains.model_errors import joined_errors
from moesaic.chains.question import checked_question
from moesaic.chains.rag_options import Judge, RagMode, RagOptions
from moesaic.chains.served import Served
from moesaic.chains.span_choice import chosen_span
from moesaic.chains.span_likelihood import affordable, likelihoods
from moesaic.retrieval import KnowledgeBase

__all__ = ["RagChain"]

_CHOICES = 8

Question = str | Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """Evidence that the model has seen, and which model that was."""

    evidence: Evidence
    model: str = ""
    weight_version: str = ""


class RagChain(Served, RunnableSerializable[Question, CitedAnswer | AnswerPart]):
    """Answers a question, given as text or as a mapping with the key `question`.

    `invoke` gives a `CitedAnswer`; `stream` gives `AnswerPart`s, the last of which has the `CitedAnswer`. Their four
    forms raise members of Moesaic's and LangChain's error trees:
        InputError: the question is blank, too long, or no text.
        KnowledgeBaseError: the base is damaged, or its embedder is another one.
        DeadlineExceededError: `timeout_s` were not enough.
        EngineOverloadedError, UnavailableError, …: what `InferenceClient` raises.
    """

    base: KnowledgeBase
    """Where answers come from."""
    options: RagOptions = RagOptions()
    """How."""

    _loop: asyncio.AbstractEventLoop | None = PrivateAttr(default=None)

    def model_post_init(self, context: Any, /) -> None:
        """Make the clients; one that was given belongs to the loop that runs now."""
        super().model_post_init(context)
        if self.client is not None:
            with suppress(RuntimeError):
                self._loop = asyncio.get_running_loop()

    def invoke(self, input: Question, config: RunnableConfig | None = None, **kwargs: Any) -> CitedAnswer:
        """Answer a question."""
        return cast("CitedAnswer", self._call_with_config(self._answer, input, config, run_type="chain"))

    async def ainvoke(self, input: Question, config: RunnableConfig | None = None, **kwargs: Any) -> CitedAnswer:
        """Answer a question."""
        return cast("CitedAnswer", await self._acall_with_config(self._aanswer, input, config, run_type="chain"))

    def stream(
        self, input: Question, config: RunnableConfig | None = None, **kwargs: Any | None
    ) -> Generator[AnswerPart, None, None]:
        """Answer a question part by part."""
        yield from cast(
            "Iterator[AnswerPart]",
            self._transform_stream_with_config(iter([input]), self._transform, config, run_type="chain"),
        )

    async def astream(
        self, input: Question, config: RunnableConfig | None = None, **kwargs: Any | None
    ) -> AsyncGenerator[AnswerPart, None]:
        """Answer a question part by part."""

        async def given() -> AsyncIterator[Question]:
            yield input

        stream = self._atransform_stream_with_config(given(), self._atransform, config, run_type="chain")
        async with aclosing(cast("AsyncGenerator[AnswerPart, None]", stream)) as parts:
            async for part in parts:
                yield part

    def _answer(self, question: Question) -> CitedAnswer:
        return _last(list(self._blocking_parts(question)))

    async def _aanswer(self, question: Question) -> CitedAnswer:
        return _last([part async for part in self._parts(question)])

    def _transform(self, questions: Iterator[Question]) -> Iterator[AnswerPart]:
        for question in questions:
            yield from self._blocking_parts(question)

    async def _atransform(self, questions: AsyncIterator[Question]) -> AsyncIterator[AnswerPart]:
        async for question in questions:
            async with aclosing(self._parts(question)) as parts:
                async for part in parts:
                    yield part

    def _blocking_parts(self, question: Question) -> Iterator[AnswerPart]:
        return blocking_events(lambda: self._parts(question), self._loop, type(self).__name__)

    async def _parts(self, given: Question) -> AsyncGenerator[AnswerPart, None]:
        """The answer, part by part: what everything above comes to."""
        with joined_errors():
            question = checked_question(given)
            deadline = Deadline(self.timeout_s)
            evidence = await deadline.wait_for(
                asyncio.to_thread(Evidence.gather, self.base, question, self.options.passages, self.options.calibration)
            )
            judged = await self._judged(evidence, deadline)
            score = answerable_probability(judged.evidence)
            if not judged.evidence.spans or score < self.options.threshold:
                yield _declined(question, score, judged)
            elif self.options.mode is RagMode.EXTRACTIVE:
                for part in self._extracted(question, score, judged):
                    yield part
            else:
                async with aclosing(self._written(question, score, judged, deadline)) as parts:
                    async for part in parts:
                        yield part

    async def _judged(self, evidence: Evidence, deadline: Deadline) -> _Judged:
        """Let the model say what it thinks of the spans."""
        if self.options.judge is Judge.NONE or not evidence.spans:
            return _Judged(evidence=evidence)

        client, question, most = self._asynchronous, evidence.question, self.options.judged_spans
        timeout_s = deadline.remaining_s()
        if self.options.judge is Judge.LIKELIHOOD:
            spans = affordable(evidence.spans, most)
            values, response = await likelihoods(client, question, spans, model=self.model, timeout_s=timeout_s)
            evidence = evidence.with_likelihoods(values)
            return _Judged(evidence=evidence, model=response.model, weight_version=response.weight_version)

        spans = affordable(evidence.spans, min(most, _CHOICES))
        chosen, answered = await chosen_span(client, question, spans, model=self.model, timeout_s=timeout_s)
        return _Judged(
            evidence=evidence.with_first(chosen), model=answered.model, weight_version=answered.weight_version
        )

    def _extracted(self, question: str, score: float, judged: _Judged) -> Iterator[AnswerPart]:
        citations = extract(judged.evidence, self.options)
        for citation in citations:
            yield AnswerPart(text=SEPARATOR * (citation.answer_start > 0) + citation.quote)
            yield AnswerPart(citations=(citation,))
        yield AnswerPart(
            answer=CitedAnswer(
                question=question,
                answer=SEPARATOR.join(citation.quote for citation in citations),
                declined=False,
                score=score,
                citations=tuple(citations),
                model=judged.model,
                weight_version=judged.weight_version,
            )
        )

    async def _written(
        self, question: str, score: float, judged: _Judged, deadline: Deadline
    ) -> AsyncGenerator[AnswerPart, None]:
        draft = Draft()
        parts = checked_sentences(
            self._asynchronous, self.base, judged.evidence, self.options, draft, model=self.model, deadline=deadline
        )
        async with aclosing(parts):
            async for part in parts:
                yield part
        answer = CitedAnswer(
            question=question,
            answer=draft.text,
            declined=not draft.text,
            score=score,
            citations=tuple(draft.citations),
            dropped=tuple(draft.dropped),
            model=draft.started.model,
            weight_version=draft.started.weight_version,
        )
        yield AnswerPart(answer=answer)


def _declined(question: str, score: float, judged: _Judged) -> AnswerPart:
    answer = CitedAnswer(
        question=question,
        answer="",
        declined=True,
        score=score,
        model=judged.model,
        weight_version=judged.weight_version,
    )
    return AnswerPart(answer=answer)


def _last(parts: list[AnswerPart]) -> CitedAnswer:
    answer = parts[-1].answer
    assert answer is not None
    return answer
