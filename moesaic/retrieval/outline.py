"""The sections of a text, from the headings that stand in it.

Markdown knows headings that begin with `#` and headings that are underlined with `=` or `-`; plain text (and
reStructuredText) headings that are underlined with a row of one sign, at least as long as the heading. What stands in
a fenced block is no heading.

A heading without a text of its own, directly above a deeper one, begins that one's section: a section that holds
nothing but its heading answers no question.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from moesaic.retrieval.document import Section

__all__ = ["Heading", "markdown_headings", "sections_of", "underlined_headings"]

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})", re.MULTILINE)
_HASHES = re.compile(r"^ {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$", re.MULTILINE)
_SETEXT = re.compile(
    r"^(?! {0,3}(?:[-*+>#|]|\d+[.)] ))[ ]{0,3}(\S[^\n]*?)[ \t]*\n {0,3}(=+|-{3,})[ \t]*$", re.MULTILINE
)
_UNDERLINE = re.compile(r"^(\S[^\n]*?)[ \t]*\n([*=\-~^\"'`#+.:_])\2{2,}[ \t]*$", re.MULTILINE)
_MARKUP = re.compile(r"[*_`]{1,3}(\S(?:.*?\S)?)[*_`]{1,3}|!?\[([^\]]*)\]\([^)]*\)")
_MAX_HEADING = 200


class Heading(NamedTuple):
    """A heading: its span, lines below it included, its depth from 1, and its text."""

    start: int
    end: int
    level: int
    text: str


def markdown_headings(text: str) -> list[Heading]:
    """The headings of a Markdown text, in order."""
    fences = list(_fenced(text))
    found = [Heading(m.start(), m.end(), len(m[1]), _plain(m[2])) for m in _HASHES.finditer(text)]
    found += [Heading(m.start(), m.end(), 1 if m[2][0] == "=" else 2, _plain(m[1])) for m in _SETEXT.finditer(text)]
    return sorted(
        heading for heading in found if heading.text and not any(start <= heading.start < end for start, end in fences)
    )


def underlined_headings(text: str) -> list[Heading]:
    """The underlined headings of a plain text, in order; signs are ranked in the order in which they first appear."""
    signs: list[str] = []
    found = []
    for match in _UNDERLINE.finditer(text):
        title, sign = match[1], match[2]
        underline = text[match.start() : match.end()].rstrip().rpartition("\n")[2]
        if len(underline) < len(title) or len(title) > _MAX_HEADING or set(title) == {sign}:
            continue

        if sign not in signs:
            signs.append(sign)
        found.append(Heading(match.start(), match.end(), signs.index(sign) + 1, title))
    return found


def sections_of(text: str, headings: list[Heading]) -> tuple[Section, ...]:
    """Sections that tile the text, one per heading, and one without a heading for what stands before the first."""
    if not headings:
        return (Section(start=0, end=len(text)),)

    begins = [_Begin(heading.start, path) for heading, path in zip(headings, _paths(headings), strict=True)]
    for index, (upper, lower) in enumerate(pairwise(headings)):
        if lower.level > upper.level and not text[upper.end : lower.start].strip():
            begins[index + 1] = _Begin(begins[index].start, begins[index + 1].path)
    kept = [begin for begin, after in zip(begins, [*begins[1:], None], strict=True) if begin.start != _start(after)]
    if text[: kept[0].start].strip():
        kept.insert(0, _Begin(0, ()))
    else:
        kept[0] = _Begin(0, kept[0].path)
    ends = [*(begin.start for begin in kept[1:]), len(text)]
    return tuple(
        Section(start=begin.start, end=end, heading_path=begin.path) for begin, end in zip(kept, ends, strict=True)
    )


class _Begin(NamedTuple):
    start: int
    path: tuple[str, ...]


def _start(begin: _Begin | None) -> int | None:
    return None if begin is None else begin.start


def _paths(headings: list[Heading]) -> Iterator[tuple[str, ...]]:
    above: list[Heading] = []
    for heading in headings:
        above = [*(upper for upper in above if upper.level < heading.level), heading]
        yield tuple(upper.text for upper in above)


def _fenced(text: str) -> Iterator[tuple[int, int]]:
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opened is None:
            opened = fence
        elif fence[1][0] == opened[1][0] and len(fence[1]) >= len(opened[1]):
            yield opened.start(), fence.end()
            opened = None
    if opened is not None:
        yield opened.start(), len(text)


def _plain(heading: str) -> str:
    """A heading without emphasis, code signs and link targets."""
    return _MARKUP.sub(lambda match: match[1] or match[2] or "", heading).strip()[:_MAX_HEADING]
