"""One load for three ways to the same engine: vLLM's own object, our gRPC server, and vLLM's HTTP server.

All of them get the same prompts as token ids at the same moment, and greedy answers of a fixed length. What differs is
what stands between the caller and the engine.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from statistics import median
from typing import Protocol

import aiohttp

from moesaic import v1
from moesaic.client import AsyncClient
from moesaic.server.engine import Engine, GenerateRequest, SamplingParameters

__all__ = ["EngineWay", "GrpcWay", "HttpWay", "Outcome", "Way", "run_load"]

_Prompt = tuple[int, ...]


class Way(Protocol):
    """A way to the engine."""

    @property
    def name(self) -> str:
        """What the tables call it."""
        ...

    @property
    def front_end(self) -> int:
        """Process id of what stands between the caller and the engine's process."""
        ...

    def tokens(self, prompt: _Prompt, new_tokens: int) -> AsyncGenerator[int, None]:
        """Stream an answer; gives how many tokens each piece has."""
        ...


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one load of one way took."""

    tokens_per_s: float
    """Tokens of all answers, from sending the requests to the last token."""
    first_token_s: tuple[float, ...]
    """Seconds to the first token, of each stream."""
    front_end_cpu_s: float
    """Processor time of the front end per 1,000 tokens."""

    @property
    def first_token_median_s(self) -> float:
        """Half of the streams had their first token by then."""
        return median(self.first_token_s)


class EngineWay:
    """vLLM's asynchronous engine in this process, nothing between."""

    name = "AsyncLLM"

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def front_end(self) -> int:
        """This process."""
        return os.getpid()

    async def tokens(self, prompt: _Prompt, new_tokens: int) -> AsyncGenerator[int, None]:
        """See `Way.tokens`."""
        sampling = SamplingParameters(max_tokens=new_tokens, temperature=0.0, ignore_eos=True)
        async with aclosing(
            self._engine.generate(GenerateRequest(prompt_token_ids=prompt, sampling=sampling))
        ) as deltas:
            async for delta in deltas:
                if delta.token_ids:
                    yield len(delta.token_ids)


class GrpcWay:
    """`moesaic serve`, through `AsyncClient`."""

    name = "gRPC (moesaic)"

    def __init__(self, client: AsyncClient, front_end: int) -> None:
        self._client = client
        self.front_end = front_end

    async def tokens(self, prompt: _Prompt, new_tokens: int) -> AsyncGenerator[int, None]:
        """See `Way.tokens`."""
        asked = v1.GenerateRequest(
            prompt=v1.TextOrTokens(token_ids=v1.TokenIds(ids=prompt)),
            sampling=v1.SamplingParameters(max_tokens=new_tokens, temperature=0.0, ignore_eos=True),
        )
        async with aclosing(self._client.generate_stream(v1.GenerateStreamRequest(request=asked))) as events:
            async for event in events:
                if event.delta.token_ids:
                    yield len(event.delta.token_ids)


class HttpWay:
    """vLLM's OpenAI server, through aiohttp and server-sent events."""

    name = "HTTP (vLLM)"

    def __init__(self, session: aiohttp.ClientSession, base: str, model: str, front_end: int) -> None:
        self._session = session
        self._url = f"{base}/v1/completions"
        self._model = model
        self.front_end = front_end

    async def tokens(self, prompt: _Prompt, new_tokens: int) -> AsyncGenerator[int, None]:
        """See `Way.tokens`; the server sends a piece for each token."""
        body = {
            "model": self._model,
            "prompt": list(prompt),
            "max_tokens": new_tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "return_token_ids": True,
        }
        async with self._session.post(self._url, json=body) as response:
            response.raise_for_status()
            async for line in response.content:
                if line.startswith(b"data: {"):
                    ids = json.loads(line[6:])["choices"][0].get("token_ids")
                    if ids:
                        yield len(ids)


async def run_load(way: Way, prompts: Sequence[_Prompt], new_tokens: int) -> Outcome:
    """Send all prompts at once and wait for all answers.

    Raises `RuntimeError` if an answer has another length than was asked for: rates of different work do not compare.
    """
    cpu_before = _cpu_seconds(way.front_end)
    began = time.perf_counter()
    streams = await asyncio.gather(*(_timed(way, prompt, new_tokens, began) for prompt in prompts))
    wall = time.perf_counter() - began
    cpu = _cpu_seconds(way.front_end) - cpu_before
    tokens = sum(count for _, count in streams)
    if tokens != len(prompts) * new_tokens:
        raise RuntimeError(f"{way.name} gave {tokens} tokens instead of {len(prompts) * new_tokens}")

    return Outcome(
        tokens_per_s=tokens / wall,
        first_token_s=tuple(first for first, _ in streams),
        front_end_cpu_s=1000 * cpu / tokens,
    )


async def _timed(way: Way, prompt: _Prompt, new_tokens: int, began: float) -> tuple[float, int]:
    first, count = 0.0, 0
    async with aclosing(way.tokens(prompt, new_tokens)) as pieces:
        async for piece in pieces:
            first = first or time.perf_counter() - began
            count += piece
    return first, count


def _cpu_seconds(process_id: int) -> float:
    """Processor time of all threads of a process, ended ones too, without its children."""
    # The clock of another process, as clock_getcpuclockid(3) numbers it: in nanoseconds, where /proc counts in 10 ms.
    return time.clock_gettime((~process_id << 3) | 2)
