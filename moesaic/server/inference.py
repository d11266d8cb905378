"""`InferenceService`: the calls of `moesaic.v1.InferenceService`, without a network.

Every method takes a request and its `Caller`, and raises errors of `moesaic.errors`. Two thin adapters stand before it:
the gRPC servicers (`grpc_service`) and `InProcessClient`. Values are checked once: the shape of messages here, the
ranges of sampling by the engine's validation.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from moesaic import v1
from moesaic.errors import (
    ContextOverflowError,
    NotFoundError,
    RequestError,
    UnavailableError,
    UnsupportedFeatureError,
)
from moesaic.server.answers import ChatReader, completion_delta, whole_choices, whole_completions
from moesaic.server.conversation import prompt_of
from moesaic.server.engine import (
    Constraint,
    Delta,
    Engine,
    EngineState,
    GenerateRequest,
    SamplingParameters,
)
from moesaic.server.open_calls import Caller, OpenCall, OpenCalls
from moesaic.server.served_model import ServedModel
from moesaic.server.wire import sampling_from_wire, usage_to_wire, wire_names

if TYPE_CHECKING:
    from moesaic.retrieval.embedder import Embedder

__all__ = ["InferenceService", "ServiceLimits"]

_LONGEST_TOKEN_BYTES = 256
"""Text longer than the context times this cannot fit; it is refused before it is encoded."""

_LAST_WORDS_S = 2.0
"""How long requests that were ended may take to tell their callers."""

_DRAIN_LOOK_S = 0.02
_ABORT_AGAIN_S = 0.005

_ENCODED_IN_PLACE = 4096
"""Characters that are encoded in less time than a thread takes to wake up."""


@dataclass(frozen=True, kw_only=True)
class ServiceLimits:
    """Bounds of one service, besides those of its engine."""

    default_max_tokens: int = 512
    """Tokens of an answer for which the caller sets no bound."""
    max_open_requests: int = 1024
    """Most requests in flight."""
    max_batch: int = 256
    """Most texts of one Embed, and most continuations of one Score."""


class InferenceService:
    """One engine, and an encoder if there is one, behind the wire contract.

    Args:
        engine: computes tokens; started and stopped by whoever owns it.
        model: what is said about it.
        embedder: answers Embed; None refuses it.
        limits: bounds.
    """

    def __init__(
        self,
        engine: Engine,
        model: ServedModel,
        *,
        embedder: "Embedder | None" = None,
        limits: ServiceLimits | None = None,
    ) -> None:
        self.engine = engine
        self.model = model
        self.embedder = embedder
        self.limits = limits or ServiceLimits()
        self.calls = OpenCalls(self.limits.max_open_requests)
        # Encoders keep every core busy by themselves: one batch at a time.
        self._encoding = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedder")

    async def generate(self, request: v1.GenerateRequest, caller: Caller) -> v1.GenerateResponse:
        """Continue a prompt."""
        started, deltas, finished = await _gathered(
            self.generate_stream(v1.GenerateStreamRequest(request=request), caller)
        )
        return v1.GenerateResponse(
            request_id=started.request_id,
            model=started.model,
            weight_version=started.weight_version,
            completions=whole_completions(deltas),
            usage=finished.usage,
        )

    async def generate_stream(
        self, request: v1.GenerateStreamRequest, caller: Caller
    ) -> AsyncGenerator[v1.GenerateStreamResponse, None]:
        """Continue a prompt, token by token."""
        asked = request.request
        self._require_ready(asked.model)
        token_ids = await self._tokens("prompt", asked.prompt)
        sampling = self._sampling(asked.sampling, len(token_ids))
        first = v1.FinishReason.FINISH_REASON_UNSPECIFIED
        sequence = 0
        with self.calls.admitted(caller, asked.request_id) as call, wire_names("prompt"):
            async with aclosing(self._deltas(call, token_ids, sampling, asked.priority)) as deltas:
                async for delta in deltas:
                    if sequence == 0:
                        yield v1.GenerateStreamResponse(started=self._started(call, len(token_ids)))
                    sequence += 1
                    message = completion_delta(delta, drained=call.drained)
                    first = first or (message.finish_reason if delta.index == 0 else first)
                    yield v1.GenerateStreamResponse(sequence=sequence, delta=message)
                    if delta.usage is not None:
                        finished = v1.Finished(finish_reason=first, usage=usage_to_wire(delta.usage))
                        yield v1.GenerateStreamResponse(sequence=sequence + 1, finished=finished)

    async def chat(self, request: v1.ChatRequest, caller: Caller) -> v1.ChatResponse:
        """Answer a conversation."""
        started, deltas, finished = await _gathered(self.chat_stream(v1.ChatStreamRequest(request=request), caller))
        return v1.ChatResponse(
            request_id=started.request_id,
            model=started.model,
            weight_version=started.weight_version,
            choices=whole_choices(deltas),
            usage=finished.usage,
        )

    async def chat_stream(
        self, request: v1.ChatStreamRequest, caller: Caller
    ) -> AsyncGenerator[v1.ChatStreamResponse, None]:
        """Answer a conversation, token by token; a call of a tool is one delta, once it is complete."""
        asked = request.request
        self._require_ready(asked.model)
        prompt = prompt_of(self.engine.tokenizer, asked.messages, asked.tools, asked.tool_choice)
        if prompt.constraint is not None and asked.sampling.HasField("constraint"):
            raise RequestError("sampling.constraint", "excludes tools: their calls are constrained already; give one")
        token_ids = await self._encoded("messages", prompt.text, special=False)
        sampling = self._sampling(asked.sampling, len(token_ids), prompt.constraint, required=prompt.tools_required)
        readers: dict[int, ChatReader] = {}
        first = v1.FinishReason.FINISH_REASON_UNSPECIFIED
        sequence = 0
        for_tools = prompt.constraint is not None
        with self.calls.admitted(caller, asked.request_id) as call, wire_names("messages", written_for_tools=for_tools):
            async with aclosing(self._deltas(call, token_ids, sampling, asked.priority)) as deltas:
                async for delta in deltas:
                    if sequence == 0:
                        yield v1.ChatStreamResponse(started=self._started(call, len(token_ids)))
                        sequence = 1
                    reader = readers.setdefault(delta.index, ChatReader(prompt))
                    message = reader.read(delta, drained=call.drained)
                    if message is not None:
                        first = first or (message.finish_reason if delta.index == 0 else first)
                        yield v1.ChatStreamResponse(sequence=sequence, delta=message)
                        sequence += 1
                    if delta.usage is not None:
                        finished = v1.Finished(finish_reason=first, usage=usage_to_wire(delta.usage))
                        yield v1.ChatStreamResponse(sequence=sequence, finished=finished)

    async def score(self, request: v1.ScoreRequest, caller: Caller) -> v1.ScoreResponse:
        """Say how likely texts are as continuations of a prompt."""
        self._require_ready(request.model)
        self._check_batch("continuations", len(request.continuations))
        prompt: Sequence[int] = ()
        if request.HasField("prompt"):
            prompt = await self._tokens("prompt", request.prompt)
        sequences = []
        for index, continuation in enumerate(request.continuations):
            field = f"continuations[{index}]"
            sequence = [*prompt, *await self._tokens(field, continuation)]
            if len(sequence) > self.engine.limits.context_length:
                raise ContextOverflowError(
                    field, f"{len(sequence)} tokens with the prompt; at most {self.engine.limits.context_length}"
                )
            sequences.append(sequence)
        with self.calls.admitted(caller), wire_names("prompt"):
            rows = await self.engine.score(sequences)
        first = max(1, len(prompt))
        scores = []
        for sequence, row in zip(sequences, rows, strict=True):
            values = row[first - 1 :]
            tokens = [
                v1.TokenLogprob(token_id=token, logprob=value)
                for token, value in zip(sequence[first:], values, strict=True)
            ]
            scores.append(v1.Score(logprob=sum(values), tokens=tokens))
        return v1.ScoreResponse(model=self.model.name, weight_version=self.model.weight_version, scores=scores)

    async def embed(self, request: v1.EmbedRequest, caller: Caller) -> v1.EmbedResponse:
        """Give vectors for texts; works while the engine does not."""
        embedder = self.embedder
        if embedder is None:
            raise UnsupportedFeatureError("this server has no encoder; start it with --embedder")
        if request.model not in ("", embedder.name):
            raise NotFoundError("model", request.model[:80], f"this server embeds with {embedder.name!r}")
        self._check_batch("texts", len(request.texts))
        if request.purpose not in v1.EmbedPurpose.values():
            raise RequestError("purpose", f"{request.purpose} is unknown; use DOCUMENT or QUERY")
        texts = list(request.texts)
        as_query = request.purpose == v1.EmbedPurpose.EMBED_PURPOSE_QUERY
        encode = embedder.embed_queries if as_query else embedder.embed_documents
        with self.calls.admitted(caller):
            rows = await asyncio.get_running_loop().run_in_executor(self._encoding, encode, texts)
        return v1.EmbedResponse(model=embedder.name, embeddings=[v1.Embedding(values=row) for row in rows.tolist()])

    async def tokenize(self, request: v1.TokenizeRequest, caller: Caller) -> v1.TokenizeResponse:
        """Give the tokens of a text or of a conversation."""
        self.model.require(request.model)
        match request.WhichOneof("input"):
            case "text":
                special = request.add_special_tokens if request.HasField("add_special_tokens") else True
                token_ids = await self._encoded("text", request.text, special=special)
            case "conversation":
                conversation = request.conversation
                prompt = prompt_of(self.engine.tokenizer, conversation.messages, conversation.tools)
                token_ids = await self._encoded("conversation", prompt.text, special=False)
            case _:
                raise RequestError("input", "is not set; give text or conversation")
        return v1.TokenizeResponse(token_ids=token_ids)

    async def detokenize(self, request: v1.DetokenizeRequest, caller: Caller) -> v1.DetokenizeResponse:
        """Give the text of tokens."""
        self.model.require(request.model)
        vocab_size = self.engine.limits.vocab_size
        if unknown := next((token for token in request.token_ids if token >= vocab_size), None):
            raise RequestError("token_ids", f"{unknown} is not a token id from 0 to {vocab_size - 1}")
        decode: Callable[..., str] = self.engine.tokenizer.decode
        text = await asyncio.to_thread(decode, list(request.token_ids), skip_special_tokens=request.skip_special_tokens)
        return v1.DetokenizeResponse(text=text)

    async def abort(self, request: v1.AbortRequest, caller: Caller) -> v1.AbortResponse:
        """End a request of the same caller."""
        if not request.request_id:
            raise RequestError("request_id", "is empty; give the name of a request")
        call = self.calls.find(caller, request.request_id)
        aborted = False
        while call is not None and not aborted and self.calls.find(caller, request.request_id) is call:
            aborted = await self.engine.abort(call.engine_id)
            if not aborted:  # on its way into the engine, or out of it
                await asyncio.sleep(_ABORT_AGAIN_S)
        outcome = v1.AbortOutcome.ABORT_OUTCOME_ABORTED if aborted else v1.AbortOutcome.ABORT_OUTCOME_NOT_FOUND
        return v1.AbortResponse(outcome=outcome)

    async def drain(self, grace_s: float) -> None:
        """Admit nothing more; let what is open end, and after `grace_s` end it with FINISH_REASON_DRAINED."""
        self.calls.draining = True
        deadline = asyncio.get_running_loop().time() + grace_s
        # Counted in looks, not by the clock: while this process stands still, nobody can say a word.
        looks_left = round(_LAST_WORDS_S / _DRAIN_LOOK_S)
        while len(self.calls) and looks_left > 0:
            if asyncio.get_running_loop().time() >= deadline:
                looks_left -= 1
                for call in self.calls:
                    call.drained = True
                    await self.engine.abort(call.engine_id)
            await asyncio.sleep(_DRAIN_LOOK_S)

    def _require_ready(self, model: str) -> None:
        self.model.require(model)
        state = self.engine.state
        if state is not EngineState.READY:
            raise UnavailableError(
                f"the engine is {state}; ask again when the server's health is SERVING", retry_after_s=2.0
            )

    def _check_batch(self, field: str, count: int) -> None:
        if not 1 <= count <= self.limits.max_batch:
            raise RequestError(field, f"{count} entries; give 1 to {self.limits.max_batch}")

    def _sampling(
        self,
        message: v1.SamplingParameters,
        prompt_tokens: int,
        constraint: Constraint | None = None,
        *,
        required: bool = False,
    ) -> SamplingParameters:
        room = self.engine.limits.context_length - prompt_tokens
        sampling = sampling_from_wire(message, max_tokens=max(1, min(room, self.limits.default_max_tokens)))
        if constraint is None:
            return sampling
        if not required and "constraints" not in self.engine.capabilities:
            return sampling  # calls are read all the same, if the model writes them well
        return replace(sampling, constraint=constraint)

    async def _tokens(self, field: str, given: v1.TextOrTokens) -> list[int]:
        match given.WhichOneof("input"):
            case "text":
                return await self._encoded(field, given.text, special=True)
            case "token_ids":
                return list(given.token_ids.ids)
            case _:
                raise RequestError(field, "is not set; give text or token_ids")

    async def _encoded(self, field: str, text: str, *, special: bool) -> list[int]:
        most = self.engine.limits.context_length
        if len(text) > most * _LONGEST_TOKEN_BYTES:
            raise ContextOverflowError(field, f"{len(text)} characters cannot fit into a context of {most} tokens")
        encode: Callable[..., list[int]] = self.engine.tokenizer.encode
        if len(text) <= _ENCODED_IN_PLACE:
            return encode(text, add_special_tokens=special)
        return await asyncio.to_thread(encode, text, add_special_tokens=special)

    def _deltas(
        self, call: OpenCall, token_ids: Sequence[int], sampling: SamplingParameters, priority: int
    ) -> AsyncGenerator[Delta, None]:
        return self.engine.generate(
            GenerateRequest(
                prompt_token_ids=tuple(token_ids), sampling=sampling, request_id=call.engine_id, priority=priority
            )
        )

    def _started(self, call: OpenCall, prompt_tokens: int) -> v1.Started:
        return v1.Started(
            request_id=call.request_id,
            model=self.model.name,
            weight_version=self.model.weight_version,
            prompt_tokens=prompt_tokens,
        )


async def _gathered(stream: AsyncGenerator[Any, None]) -> tuple[v1.Started, list[Any], v1.Finished]:
    """A stream's events, when it has ended."""
    started, deltas, finished = v1.Started(), [], v1.Finished()
    async with aclosing(stream) as events:
        async for event in events:
            match event.WhichOneof("event"):
                case "started":
                    started = event.started
                case "delta":
                    deltas.append(event.delta)
                case "finished":
                    finished = event.finished
    return started, deltas, finished
