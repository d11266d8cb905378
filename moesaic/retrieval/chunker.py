"""Documents into chunks, along their structure: headings, then paragraphs, lists and code, then sentences.

- No chunk crosses a section, and each knows the headings above it.
- A block is kept whole if it fits the budget, even if that leaves the chunk before it shorter.
- Chunks lie in order and together hold every character but white space; they overlap only as `overlap_tokens` says,
  and then by whole parts (sentences, items, rows).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, Self

from moesaic.errors import InputError
from moesaic.retrieval.blocks import Block, blocks, parts
from moesaic.retrieval.document import Document, Section
from moesaic.retrieval.sentence_spans import Span
from moesaic.retrieval.token_estimate import estimated_tokens

__all__ = ["Chunk", "ChunkOptions", "chunk_document"]

_LIMITS = (16, 4096)
_BREAKABLE = re.compile(r"\s+|(?<=[，、,;；:：])")


@dataclass(frozen=True, kw_only=True)
class ChunkOptions:
    """How large chunks are. A knowledge base keeps the options that it was made with."""

    max_tokens: int = 300
    """Most tokens of a chunk, as `estimated_tokens` counts them: 16 to 4096. Encoders commonly read 256 or 512; on
    Python's reference 300 ranks the right chunk first more often than 120 or 200 do."""
    overlap_tokens: int = 0
    """Most tokens that a chunk repeats from the one before it in the same section: below half of `max_tokens`."""

    def __post_init__(self) -> None:
        """Refuse sizes that make no chunks."""
        low, high = _LIMITS
        if not low <= self.max_tokens <= high:
            raise InputError(f"max_tokens={self.max_tokens!r} must be {low} to {high}")

        if not 0 <= self.overlap_tokens * 2 < self.max_tokens:
            raise InputError(
                f"overlap_tokens={self.overlap_tokens!r} must be at least 0 and below half of max_tokens "
                f"({self.max_tokens})"
            )

    def to_json(self) -> dict[str, int]:
        """The options as plain JSON values."""
        return {"max_tokens": self.max_tokens, "overlap_tokens": self.overlap_tokens}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """The options that `to_json` gave."""
        return cls(max_tokens=value["max_tokens"], overlap_tokens=value["overlap_tokens"])


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A span of a document that is indexed as one."""

    start: int
    end: int
    heading_path: tuple[str, ...]


class _Part(NamedTuple):
    start: int
    end: int
    tokens: int


def chunk_document(document: Document, options: ChunkOptions | None = None) -> list[Chunk]:
    """The chunks of a document, in order; `document.text[chunk.start:chunk.end]` is the text of one."""
    options = options or ChunkOptions()
    return [
        Chunk(start=start, end=end, heading_path=section.heading_path)
        for section in document.sections
        for start, end in _pack(document.text, section, options)
    ]


def _pack(text: str, section: Section, options: ChunkOptions) -> Iterator[Span]:
    """Fill chunks of a section with blocks, and with parts of blocks where a block alone is too large."""
    held: list[_Part] = []
    fresh = 0
    for block in blocks(text, section.start, section.end):
        whole = _part(text, block.start, block.end)
        fits = whole.tokens <= options.max_tokens
        for part in [whole] if fits else list(_divided(text, block, options.max_tokens)):
            if fresh and _tokens(held) + part.tokens > options.max_tokens:
                yield held[0].start, held[-1].end
                held, fresh = _repeated(held, part, options), 0
            held.append(part)
            fresh += 1
    if fresh:
        yield held[0].start, held[-1].end


def _repeated(held: list[_Part], following: _Part, options: ChunkOptions) -> list[_Part]:
    """The last parts of a full chunk that the next one repeats; never all of them."""
    room = min(options.overlap_tokens, options.max_tokens - following.tokens)
    kept: list[_Part] = []
    for part in reversed(held[1:]):
        if _tokens([part, *kept]) > room:
            break
        kept.insert(0, part)
    return kept


def _divided(text: str, block: Block, budget: int) -> Iterator[_Part]:
    """Parts of a block, each within the budget: its natural ones, or stretches of lines, words, at last characters."""
    for start, end in parts(text, block):
        part = _part(text, start, end)
        if part.tokens <= budget:
            yield part
        else:
            yield from _broken(text, part, budget)


def _broken(text: str, part: _Part, budget: int) -> Iterator[_Part]:
    """Break a part that is too large by itself, at the best place that leaves no piece over the budget."""
    piece = text[part.start : part.end]
    lines = [part.start, *(part.start + found.end() for found in re.finditer(r"\n", piece)), part.end]
    start = part.start
    for left, right in pairwise(lines):
        if start < left and estimated_tokens(text[start:right]) > budget:
            yield from _within(text, start, left, budget)
            start = left
    yield from _within(text, start, part.end, budget)


def _within(text: str, start: int, end: int, budget: int) -> Iterator[_Part]:
    while text[start:end].strip():
        start, stop = _trimmed(text, start, end)
        if estimated_tokens(text[start:stop]) > budget:
            stop = start + _longest(text[start:stop], budget)
        trimmed = _trimmed(text, start, stop)
        yield _part(text, *trimmed)
        start = stop


def _longest(piece: str, budget: int) -> int:
    """Length of the longest beginning of `piece` within the budget, at a gap between words where there is one."""
    low, high = 1, len(piece)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if estimated_tokens(piece[:middle]) <= budget else (low, middle - 1)
    gaps = [found.end() for found in _BREAKABLE.finditer(piece, 0, low) if low // 2 < found.end() <= low]
    return gaps[-1] if gaps else low


def _part(text: str, start: int, end: int) -> _Part:
    return _Part(start, end, estimated_tokens(text[start:end]))


def _tokens(held: list[_Part]) -> int:
    return sum(part.tokens for part in held)


def _trimmed(text: str, start: int, end: int) -> Span:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
