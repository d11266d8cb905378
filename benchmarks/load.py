"""Loads on an engine, and the rate that it keeps up under them: decoding at N streams, and computing prompts."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import NamedTuple

from moesaic.server.engine import Engine, GenerateRequest, SamplingParameters

__all__ = ["Arrival", "Load", "decode_rate", "prefill_rate", "prompts", "steady_rate"]


class Arrival(NamedTuple):
    """New tokens of one stream."""

    time_s: float
    tokens: int


@dataclass(frozen=True, kw_only=True)
class Load:
    """Requests that are sent at once."""

    name: str
    streams: int
    prompt_tokens: int
    """Tokens of each prompt."""
    new_tokens: int
    """Tokens to generate for each prompt; 1 measures the prompts alone."""

    @property
    def step_tokens(self) -> int:
        """Tokens of one forward pass: one of each stream, or one prompt (a pass holds no more than about that)."""
        return self.prompt_tokens if self.new_tokens == 1 else self.streams

    @property
    def step_rows(self) -> int:
        """Tokens of one forward pass whose logits are computed."""
        return 1 if self.new_tokens == 1 else self.streams

    async def warm_up(self, engine: Engine, text: Sequence[int], new_tokens: int) -> None:
        """Run the load with no more than so many new tokens, and measure nothing."""
        cut, most = prompts(text, self.streams, self.prompt_tokens), min(self.new_tokens, new_tokens)
        await asyncio.gather(*(_arrivals(engine, prompt, most) for prompt in cut))

    async def rate(self, engine: Engine, text: Sequence[int]) -> float:
        """Tokens per second that the engine keeps up, with prompts cut from `text`."""
        cut = prompts(text, self.streams, self.prompt_tokens)
        return await (prefill_rate(engine, cut) if self.new_tokens == 1 else decode_rate(engine, cut, self.new_tokens))


def prompts(text: Sequence[int], count: int, length: int) -> list[tuple[int, ...]]:
    """Prompts that follow each other in a text of token ids; ValueError if it is too short for them."""
    if len(text) < count * length:
        raise ValueError(f"{count} prompts of {length} tokens need {count * length}, the text has {len(text)}")

    return [tuple(text[index * length : (index + 1) * length]) for index in range(count)]


async def decode_rate(engine: Engine, cut: Sequence[tuple[int, ...]], new_tokens: int) -> float:
    """Tokens per second of all streams together, while all of them decode."""
    return steady_rate(await asyncio.gather(*(_arrivals(engine, prompt, new_tokens) for prompt in cut)))


async def prefill_rate(engine: Engine, cut: Sequence[tuple[int, ...]]) -> float:
    """Prompt tokens per second, from sending the prompts to the last of their first tokens."""
    start = time.perf_counter()
    streams = await asyncio.gather(*(_arrivals(engine, prompt, 1) for prompt in cut))
    end = max(arrivals[-1].time_s for arrivals in streams)
    return sum(map(len, cut)) / (end - start)


def steady_rate(streams: Sequence[Sequence[Arrival]]) -> float:
    """Tokens per second of all streams together, between the last stream's first token and the first stream's last.

    Before and after, fewer streams decode, or prompts are computed beside them. Each stream is timed between arrivals
    of its own: streams of one step do not arrive at quite the same time.

    Raises:
        ValueError: a stream has fewer than two arrivals in that window.
    """
    begin = max(arrivals[0].time_s for arrivals in streams)
    end = min(arrivals[-1].time_s for arrivals in streams)
    rate = 0.0
    for arrivals in streams:
        inside = [arrival for arrival in arrivals if begin <= arrival.time_s <= end]
        if len(inside) < 2:
            raise ValueError(
                f"{len(streams)} streams decoded together for {max(0.0, end - begin):.3f} s only, too short to measure "
                "a rate: ask for more new tokens"
            )

        rate += sum(arrival.tokens for arrival in inside[1:]) / (inside[-1].time_s - inside[0].time_s)
    return rate


async def _arrivals(engine: Engine, prompt: tuple[int, ...], new_tokens: int) -> list[Arrival]:
    sampling = SamplingParameters(max_tokens=new_tokens, temperature=0.0, ignore_eos=True)
    async with aclosing(engine.generate(GenerateRequest(prompt_token_ids=prompt, sampling=sampling))) as deltas:
        return [Arrival(time.perf_counter(), len(delta.token_ids)) async for delta in deltas if delta.token_ids]
