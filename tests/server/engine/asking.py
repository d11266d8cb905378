"""Short ways to ask an engine, for tests."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from moesaic.server.engine import Delta, Engine, FinishReason, GenerateRequest, SamplingParameters, Usage

__all__ = ["LONG_ANSWER", "Answer", "ask", "eventually", "request", "turning"]

LONG_ANSWER = 3000
"""Tokens of an answer that no test waits for: seconds of work, so that it is seen in flight even by a process that
stood still for a while (steps of a tiny model take less than a millisecond)."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """All deltas of one sequence together."""

    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: FinishReason | None
    deltas: tuple[Delta, ...]
    usage: Usage | None


def request(prompt: str | tuple[int, ...] = "Hello, 世界", **options: Any) -> GenerateRequest:
    """A request; sampling parameters and the request's own fields by name. Text becomes bytes plus nothing."""
    own = {name: options.pop(name) for name in ("request_id", "priority", "adapter") if name in options}
    tokens = tuple(prompt.encode()) if isinstance(prompt, str) else prompt
    return GenerateRequest(prompt_token_ids=tokens, sampling=SamplingParameters(**options), **own)


async def ask(engine: Engine, asked: GenerateRequest) -> list[Answer]:
    """The finished sequences of a request; checks what holds for every stream."""
    deltas = [delta async for delta in engine.generate(asked)]
    assert {delta.request_id for delta in deltas} == {asked.request_id}
    assert [delta.usage is not None for delta in deltas] == [False] * (len(deltas) - 1) + [True]
    answers = []
    for index in range(asked.sampling.n):
        own = tuple(delta for delta in deltas if delta.index == index)
        assert [delta.finish_reason is not None for delta in own] == [False] * (len(own) - 1) + [True]
        answers.append(
            Answer(
                text="".join(delta.text for delta in own),
                token_ids=tuple(token for delta in own for token in delta.token_ids),
                logprobs=tuple(logprob for delta in own for logprob in delta.logprobs or ()),
                finish_reason=own[-1].finish_reason,
                deltas=own,
                usage=deltas[-1].usage,
            )
        )
    return answers


async def eventually(holds: Callable[[], bool | Awaitable[bool]], timeout_s: float = 60.0) -> None:
    """Wait until something holds. The failure says how often it was asked: once or twice, and the loop stood still."""
    loop = asyncio.get_running_loop()
    end, asked = loop.time() + timeout_s, 0
    while True:
        last = loop.time() > end  # and asked once more: time may have passed in which nobody asked
        held = holds()
        asked += 1
        if held if isinstance(held, bool) else await held:
            return
        assert not last, f"it did not hold within {timeout_s} s; asked {asked} times"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def turning() -> AsyncGenerator[Callable[[], float], None]:
    """Seconds in which the event loop has turned in the block: those in which the process stood still do not count."""
    seconds, tick_s = 0.0, 0.05

    async def tick() -> None:
        nonlocal seconds
        while True:
            await asyncio.sleep(tick_s)
            seconds += tick_s

    ticking = asyncio.create_task(tick())
    try:
        yield lambda: seconds
    finally:
        ticking.cancel()
