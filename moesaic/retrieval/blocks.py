"""The blocks of a section: paragraphs, lists, tables and code, each an exact span, and how each may be divided.

A block is what a reader takes in as one; the chunker keeps it whole when it fits, and asks for its parts when not.
Blocks lie in order, do not overlap, and together hold every character that is not white space.
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from moesaic.retrieval.sentence_spans import Span, sentences

__all__ = ["Block", "BlockKind", "blocks", "parts"]

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ITEM = re.compile(r"[ \t]*(?:[-*+•]|\d{1,3}[.)、]|[（(]\d{1,3}[）)])[ \t]+\S")
_TABLE = re.compile(r"[ \t]*\|")
_INDENT = re.compile(r"(?: {3,}|\t)\S")


class BlockKind(StrEnum):
    """What a block is."""

    PARAGRAPH = "paragraph"
    """Running text; divided at sentences."""
    LIST = "list"
    """Items that follow each other; divided at items."""
    CODE = "code"
    """A fenced or an indented block; divided at blank lines, then at lines."""
    TABLE = "table"
    """Rows that begin with a bar; divided at rows."""


class Block(NamedTuple):
    """A span of a text and what it is."""

    start: int
    end: int
    kind: BlockKind


class _Line(NamedTuple):
    start: int
    end: int
    text: str


def blocks(text: str, start: int, end: int) -> list[Block]:
    """The blocks of `text[start:end]`."""
    found: list[Block] = []
    fence = ""
    after_blank = True
    for line in _lines(text, start, end):
        blank = not line.text.strip()
        marker = _FENCE.match(line.text)
        if fence:
            found[-1] = found[-1]._replace(end=line.end if not blank else found[-1].end)
            if marker and marker[1].startswith(fence) and not line.text.strip(" `~"):
                fence, after_blank = "", True
        elif marker:
            found.append(Block(line.start, line.end, BlockKind.CODE))
            fence = marker[1]
        elif blank:
            after_blank = True
        else:
            _take(found, line, after_blank=after_blank)
            after_blank = False
    return [Block(*_stripped_right(text, block.start, block.end), block.kind) for block in found]


def _take(found: list[Block], line: _Line, *, after_blank: bool) -> None:
    """Let a line continue the last block, or begin another."""
    last = found[-1] if found else None
    if _TABLE.match(line.text):
        kind = BlockKind.TABLE
    elif _ITEM.match(line.text):
        kind = BlockKind.LIST
    elif _INDENT.match(line.text) and last is not None and (after_blank or last.kind is not BlockKind.PARAGRAPH):
        # What is indented below an item belongs to it; elsewhere it is code.
        kind = BlockKind.LIST if last.kind is BlockKind.LIST else BlockKind.CODE
    elif last is not None and last.kind is BlockKind.LIST and not after_blank:
        kind = BlockKind.LIST
    else:
        kind = BlockKind.PARAGRAPH
    continues = last is not None and last.kind is kind and (kind is not BlockKind.PARAGRAPH or not after_blank)
    if last is not None and continues:
        found[-1] = last._replace(end=line.end)
    else:
        found.append(Block(line.start, line.end, kind))


def parts(text: str, block: Block) -> list[Span]:
    """The parts that a block may be divided into: they lie in order and hold all of it but white space."""
    if block.kind is BlockKind.PARAGRAPH:
        return sentences(text, block.start, block.end)

    spans: list[Span] = []
    after_blank = True
    for line in _lines(text, block.start, block.end):
        if not line.text.strip():
            after_blank = True
            continue

        divides = after_blank if block.kind is BlockKind.CODE else _begins_item(line.text, block.kind)
        if divides or not spans:
            spans.append((line.start, line.end))
        else:
            spans[-1] = (spans[-1][0], line.end)
        after_blank = False
    return [_stripped_right(text, *span) for span in spans]


def _begins_item(line: str, kind: BlockKind) -> bool:
    return kind is BlockKind.TABLE or _ITEM.match(line) is not None


def _lines(text: str, start: int, end: int) -> Iterator[_Line]:
    """Lines without their line feed, cut at `end`."""
    while start < end:
        stop = text.find("\n", start, end)
        stop = end if stop < 0 else stop
        yield _Line(start, stop, text[start:stop])
        start = stop + 1


def _stripped_right(text: str, start: int, end: int) -> Span:
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
