"""`ScriptedEngine`: an engine without weights that says what it was told to, for tests of everything above engines.

It needs neither torch nor vLLM, and behaves as the others do: it checks requests, streams, waits for free slots, can be
aborted, and dies on command.

    engine = ScriptedEngine(["Paris.", ScriptedReply(text="42", delay_s=0.1), ScriptedReply(text="Fur", dies_after=2)])
    async with running(engine):
        deltas = [delta async for delta in engine.generate(request)]

- Replies are given in the order of requests, and the last one from then on. Or give a function of the request.
- One token is one byte of UTF-8 (`ByteTokenizer`). Every log-probability is `LOGPROB`.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from moesaic.errors import EngineDeadError, InputError
from moesaic.server.engine.engine import Capability, Engine, EngineLimits, EngineLoad, EngineState
from moesaic.server.engine.lifecycle import Lifecycle
from moesaic.server.engine.open_requests import OpenRequest, OpenRequests
from moesaic.server.engine.request import Delta, FinishReason, GenerateRequest, TokenLogprob, Usage
from moesaic.server.engine.scripted_tokenizer import ByteStream, ByteTokenizer
from moesaic.server.engine.transcript import Transcript
from moesaic.server.engine.validation import check_capabilities, check_sequences, validate

__all__ = ["LOGPROB", "ScriptedEngine", "ScriptedReply", "running"]

LOGPROB = -0.5
"""Log-probability of every token, in nats."""


@dataclass(frozen=True, kw_only=True)
class ScriptedReply:
    """What one request gets."""

    text: str = "ok"
    """The answer; end of text follows."""
    delay_s: float = 0.0
    """Seconds before the first token."""
    token_delay_s: float = 0.0
    """Seconds before each further token."""
    dies_after: int | None = None
    """Tokens after which the whole engine dies; None never."""


Script = Callable[[GenerateRequest], "ScriptedReply | str"]


@asynccontextmanager
async def running(engine: Engine) -> AsyncGenerator[Engine, None]:
    """Start an engine, of any kind, for the time of a block."""
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


class ScriptedEngine:
    """An `Engine` that follows a script.

    Attributes:
        requests: every request that was accepted, in order.
    """

    def __init__(
        self,
        replies: "Sequence[ScriptedReply | str] | Script" = (ScriptedReply(),),
        *,
        context_length: int = 4096,
        max_running: int = 8,
        max_waiting: int = 1024,
        start_s: float = 0.0,
    ) -> None:
        if not callable(replies) and not replies:
            raise InputError("replies is empty: give at least one, or a function of the request")

        self.requests: list[GenerateRequest] = []
        self._replies = replies
        self._tokenizer = ByteTokenizer()
        self._limits = EngineLimits(context_length=context_length, vocab_size=ByteTokenizer.vocab_size)
        self._lifecycle = Lifecycle("the scripted engine")
        self._max_running = max_running
        self._open = OpenRequests(slots=max_running, max_open=max_running + max_waiting)
        self._start_s = start_s

    @property
    def capabilities(self) -> frozenset[Capability]:
        """All but a prefix cache and priorities."""
        return frozenset(Capability) - {Capability.PREFIX_CACHE, Capability.PRIORITY}

    @property
    def state(self) -> EngineState:
        """Where the engine is in its life."""
        return self._lifecycle.state

    @property
    def limits(self) -> EngineLimits:
        """The ranges of what may be asked."""
        return self._limits

    @property
    def tokenizer(self) -> ByteTokenizer:
        """One token for each byte."""
        return self._tokenizer

    async def start(self) -> None:
        """Become ready after `start_s` seconds."""
        async with self._lifecycle.lock:
            if self.state is EngineState.READY:
                return

            self._lifecycle.starting()
            await asyncio.sleep(self._start_s)
            self._lifecycle.ready()

    async def stop(self) -> None:
        """Abort what is open."""
        async with self._lifecycle.lock:
            self._open.end_all()
            self._lifecycle.stopped()

    def die(self, reason: str = "the script says so") -> None:
        """Fail as an engine whose process was killed."""
        self._lifecycle.failed(reason)
        self._open.end_all()

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Delta, None]:
        """Say the next reply; see `Engine.generate`."""
        self._lifecycle.require_ready()
        validate(request, self._limits)
        check_capabilities(request, self.capabilities, self._lifecycle.name)
        return self._stream(request)

    async def score(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """Give `LOGPROB` for every token but the first of each sequence."""
        self._lifecycle.require_ready()
        check_sequences(sequences, self._limits)
        await asyncio.sleep(0)
        return [[LOGPROB] * (len(sequence) - 1) for sequence in sequences]

    async def abort(self, request_id: str) -> bool:
        """End an open request; False if there is none of this name."""
        return self._open.end(request_id)

    def load(self) -> EngineLoad:
        """Count open requests."""
        return EngineLoad(
            running=self._open.running,
            waiting=self._open.waiting,
            kv_cache_usage=self._open.running / self._max_running,
        )

    async def wait_failed(self) -> EngineDeadError:
        """Wait for `die`."""
        return await self._lifecycle.wait_failed()

    def _reply(self, request: GenerateRequest) -> ScriptedReply:
        if callable(self._replies):
            reply = self._replies(request)
        else:
            reply = self._replies[min(len(self.requests), len(self._replies)) - 1]
        return ScriptedReply(text=reply) if isinstance(reply, str) else reply

    async def _stream(self, request: GenerateRequest) -> AsyncGenerator[Delta, None]:
        generated = 0
        async with self._open.admit(request.request_id) as opened:
            self.requests.append(request)
            reply = self._reply(request)
            for index in range(request.sampling.n):
                last = index == request.sampling.n - 1
                async for delta in self._sequence(request, index, reply, opened):
                    generated += len(delta.token_ids)
                    yield _with_usage(delta, request, generated) if last else delta

    async def _sequence(
        self, request: GenerateRequest, index: int, reply: ScriptedReply, opened: OpenRequest
    ) -> AsyncGenerator[Delta, None]:
        sampling = request.sampling
        transcript = Transcript(sampling, {ByteTokenizer.eos_token_id}, ByteStream().push)
        for position, token_id in enumerate(self._tokens(reply, request)):
            if await self._ended(opened, reply.token_delay_s if position else reply.delay_s):
                yield Delta(request_id=request.request_id, index=index, finish_reason=FinishReason.ABORT)
                return

            if position == reply.dies_after:
                self.die()
                self._lifecycle.require_ready()

            passage = transcript.add(token_id)
            yield Delta(
                request_id=request.request_id,
                index=index,
                text=passage.text,
                token_ids=(token_id,),
                logprobs=None if sampling.logprobs is None else (LOGPROB,),
                top_logprobs=((TokenLogprob(token_id, LOGPROB),),) if sampling.logprobs else None,
                finish_reason=passage.finish_reason,
            )
            if passage.finish_reason is not None:
                return

    def _tokens(self, reply: ScriptedReply, request: GenerateRequest) -> list[int]:
        """The reply's tokens, at most as many as were asked for; without end of text it is repeated to that length."""
        token_ids = [*self._tokenizer.encode(reply.text), ByteTokenizer.eos_token_id]
        wanted = request.sampling.max_tokens
        repeats = -(-wanted // len(token_ids)) if request.sampling.ignore_eos else 1
        return (token_ids * repeats)[:wanted]

    async def _ended(self, opened: OpenRequest, delay_s: float) -> bool:
        """Wait, and say whether the request was aborted meanwhile; raises if the engine died."""
        if delay_s > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(opened.ended.wait(), delay_s)
        else:
            await asyncio.sleep(0)  # other requests get their turn between two tokens
        if self._lifecycle.failure is not None:
            self._lifecycle.require_ready()
        return opened.ended.is_set()


def _with_usage(delta: Delta, request: GenerateRequest, generated: int) -> Delta:
    """The delta, with the usage of the request if it is the last one."""
    if delta.finish_reason is None:
        return delta

    usage = Usage(prompt_tokens=len(request.prompt_token_ids), completion_tokens=generated)
    return replace(delta, usage=usage)
