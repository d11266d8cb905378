"""Perplexity of a text in overlapping windows, from the log-probabilities that an engine gives."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from moesaic.server.engine import Engine

__all__ = ["Window", "perplexity", "python_reference", "wikitext", "windows"]

WINDOW_TOKENS = 1024
STRIDE_TOKENS = 896
_WINDOWS_AT_ONCE = 8  # what the key-value cache of a benchmark engine holds with room to spare


class Window(NamedTuple):
    """Tokens `start` to `end` of a text, of which those from `scored` on count: the others are context."""

    start: int
    scored: int
    end: int


def windows(tokens: int, *, length: int = WINDOW_TOKENS, stride: int = STRIDE_TOKENS) -> list[Window]:
    """Windows of at most `length` tokens that score every token of a text but the first, once.

    Each but the first window begins with `length - stride` tokens of context.

    Raises:
        ValueError: fewer than two tokens, or not 0 < stride < length.
    """
    if tokens < 2 or not 0 < stride < length:
        raise ValueError(f"windows need 2 tokens and 0 < stride < length, got {tokens}, {stride} and {length}")

    found = [Window(0, 1, min(length, tokens))]
    while found[-1].end < tokens:
        start = found[-1].start + stride
        found.append(Window(start, found[-1].end, min(start + length, tokens)))
    return found


async def perplexity(engine: Engine, text: Sequence[int]) -> float:
    """Perplexity of the tokens of a text, each given those before it in its window."""
    total = 0.0
    cut = windows(len(text))
    for first in range(0, len(cut), _WINDOWS_AT_ONCE):
        group = cut[first : first + _WINDOWS_AT_ONCE]
        scores = await engine.score([text[window.start : window.end] for window in group])
        for window, score in zip(group, scores, strict=True):
            total += math.fsum(score[window.scored - window.start - 1 :])
    return math.exp(-total / (len(text) - 1))


def python_reference() -> str:
    """Python's own reference, as it ships with every interpreter."""
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name] for name in sorted(topics))


def wikitext(data: Path) -> str:
    """The validation part of WikiText-2 in a folder of data sets; FileNotFoundError if it is not there."""
    return (data / "lm" / "wikitext2_valid.txt").read_text(encoding="utf-8")
