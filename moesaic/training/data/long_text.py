"""A long text in parts, divided where something ends."""

import re
from collections.abc import Iterator

__all__ = ["divided"]

_ENDS = (re.compile(r"\n\s*\n"), re.compile(r"\n"), re.compile(r"[。！？]|[.!?]\s"), re.compile(r"\s"))
"""Ends of paragraphs, lines, sentences and words: the first kind that the second half of a part has is taken."""


def divided(text: str, longest: int) -> Iterator[str]:
    """Parts of at most `longest` characters that make up the text again."""
    start = 0
    while len(text) - start > longest:
        end = _end(text, start, start + longest)
        yield text[start:end]
        start = end
    yield text[start:]


def _end(text: str, start: int, limit: int) -> int:
    for pattern in _ENDS:
        ends = [found.end() for found in pattern.finditer(text, (start + limit) // 2, limit)]
        if ends:
            return ends[-1]

    return limit
