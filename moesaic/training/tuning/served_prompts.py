"""The prompts that a served model receives from the chains, taken from the chains themselves.

Each method calls the very function that a chain calls, with a client that writes down what it is asked. So a prompt
that is changed there is changed here, and a model is never tuned on one that nobody sends.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import cast

from moesaic import v1
from moesaic.chains.deadline import Deadline
from moesaic.chains.evidence import Evidence, RankedSpan
from moesaic.chains.generative import Draft, checked_sentences
from moesaic.chains.rag_options import RagOptions
from moesaic.chains.span_choice import chosen_span
from moesaic.chains.span_likelihood import likelihoods
from moesaic.client import InferenceClient
from moesaic.retrieval import KnowledgeBase
from moesaic.training.tuning.conversation import Completion, Conversation, Message, Role

__all__ = ["choice_conversation", "likelihood_completion", "written_conversation"]

_ROLES = {
    v1.Role.ROLE_SYSTEM: Role.SYSTEM,
    v1.Role.ROLE_USER: Role.USER,
    v1.Role.ROLE_ASSISTANT: Role.ASSISTANT,
    v1.Role.ROLE_TOOL: Role.TOOL,
}

_LONG_S = 3600.0
"""Nothing is waited for but the encoder."""


class _Listener:
    """The part of `InferenceClient` that the chains' functions use; answers `answer`, and keeps what it was asked."""

    def __init__(self, answer: str = "") -> None:
        self.answer = answer
        self.messages: tuple[Message, ...] = ()
        self.texts: list[str] = []

    async def score(self, request: v1.ScoreRequest, *, timeout_s: float | None = None) -> v1.ScoreResponse:
        self.texts = [continuation.text for continuation in request.continuations]
        nothing = v1.Score(tokens=[v1.TokenLogprob()])
        return v1.ScoreResponse(scores=[nothing] * len(self.texts))

    async def chat(self, request: v1.ChatRequest, *, timeout_s: float | None = None) -> v1.ChatResponse:
        self._listen(request)
        return v1.ChatResponse(choices=[v1.ChatChoice(message=v1.ChatMessage(content=self.answer))])

    async def chat_stream(
        self, request: v1.ChatStreamRequest, *, timeout_s: float | None = None
    ) -> AsyncGenerator[v1.ChatStreamResponse, None]:
        self._listen(request.request)
        yield v1.ChatStreamResponse(delta=v1.ChatDelta(text=self.answer))

    def _listen(self, request: v1.ChatRequest) -> None:
        self.messages = tuple(
            Message(role=_ROLES[message.role], content=message.content) for message in request.messages
        )

    def conversation(self, answer: str) -> Conversation:
        return Conversation(messages=(*self.messages, Message(role=Role.ASSISTANT, content=answer)))


async def likelihood_completion(question: str, span: RankedSpan) -> Completion:
    """What `Judge.LIKELIHOOD` scores for a span: the question as what follows the span."""
    listener = _Listener()
    await likelihoods(cast("InferenceClient", listener), question, [span], timeout_s=None)
    asked, together = listener.texts
    assert together.endswith(asked)
    return Completion(prompt=together[: -len(asked)], response=asked, end=False)


async def choice_conversation(question: str, spans: Sequence[RankedSpan], chosen: int) -> Conversation:
    """What `Judge.CHOICE` asks about spans, and that the one at index `chosen` answers."""
    listener = _Listener(answer=str(chosen + 1))
    index, _ = await chosen_span(cast("InferenceClient", listener), question, spans, timeout_s=None)
    assert index == chosen
    return listener.conversation(listener.answer)


async def written_conversation(
    base: KnowledgeBase, evidence: Evidence, answer: str, options: RagOptions
) -> tuple[Conversation, Draft]:
    """What `RagMode.GENERATIVE` asks, answered so; and what the chain would make of that answer."""
    listener, draft = _Listener(answer=answer), Draft()
    client = cast("InferenceClient", listener)
    parts = checked_sentences(client, base, evidence, options, draft, model="", deadline=Deadline(_LONG_S))
    async for _ in parts:
        continue
    return listener.conversation(answer), draft
