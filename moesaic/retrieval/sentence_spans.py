"""Sentences of a text as exact spans, English and Chinese, without a model.

A sentence ends

1. after 。！？； or an ellipsis of Chinese, with the quotes and brackets that close behind it;
2. after . ! ? of English, if white space follows and what comes next does not look like its continuation
   (a small letter), and if the full stop does not belong to an abbreviation or an initial;
3. at a blank line, before a list item, a heading or a fence, and after a heading line.

Line breaks within a paragraph do not end a sentence. The spans lie in order, do not overlap, have no white space at
either end, and together hold every other character.
"""

import re
from collections.abc import Iterator
from itertools import pairwise

__all__ = ["Span", "sentences"]

Span = tuple[int, int]
"""Start and end, `[start, end)`, in code points."""

_CLOSERS = "\"'”’»)\\]）】」』》〉"
_ABBREVIATION_LIST = (
    "mr mrs ms dr prof st sr jr gen col sgt capt lt rev hon vs etc al cf e.g "
    "i.e eg ie viz approx dept est fig figs eq eqs sec ch vol no nos pp ed eds inc "
    "ltd co corp u.s u.k u.n a.m p.m jan feb mar apr jun jul aug sep sept oct nov dec "
)
_ABBREVIATIONS = frozenset(_ABBREVIATION_LIST.split())

# A break between lines that ends a sentence whatever stands before it.
_LINE_BREAK = re.compile(
    r"\n[^\S\n]*\n"  # a blank line
    r"|\n(?=[^\S\n]*(?:[-*+•]|\d{1,3}[.)、]|[（(]\d{1,3}[）)])[^\S\n]+\S)"  # before a list item
    r"|\n(?=[^\S\n]*(?:\#{1,6}[^\S\n]|```|~~~|\|))"  # before a heading, a fence or a row of a table
    r"|(?:(?<=\n)|\A)[^\S\n]*\#{1,6}[^\S\n][^\n]*\n"  # after a heading
    r"|\n(?=[^\S\n]*(?:```|~~~))"
    r"|(?<=[*=~^\-#]{3})\n"  # after the line below a heading
)
_CHINESE_END = re.compile(rf"(?:[。！？；]+|…{{2,}}|(?<=[\u3400-\u9fff])[!?]+)[{_CLOSERS}]*")
_ENGLISH_END = re.compile(rf"[.!?]+[{_CLOSERS}]*(?=\s)")
_WORD_BEFORE = re.compile(r"[^\s(\[\"'“‘（]*\Z")
_NEXT_WORD = re.compile(r"[\s\"'“‘(\[（「『]*(\w)")


def sentences(text: str, start: int = 0, end: int | None = None) -> list[Span]:
    """Spans of the sentences between `start` and `end` (the text's end if not given), as offsets into `text`.

    A sentence that the borders cut is given as far as it lies within them.
    """
    start = min(max(0, start), len(text))
    stop = len(text) if end is None else min(max(start, end), len(text))
    cuts = sorted({start, stop, *_cuts(text[start:stop], start)})
    spans = (_stripped(text, left, right) for left, right in pairwise(cuts))
    return [span for span in spans if span[0] < span[1]]


def _cuts(piece: str, base: int) -> Iterator[int]:
    """Offsets at which one sentence ends and the next may begin."""
    for pattern in (_LINE_BREAK, _CHINESE_END):
        yield from (base + found.end() for found in pattern.finditer(piece))
    yield from (base + found.end() for found in _ENGLISH_END.finditer(piece) if _ends_english(piece, found))


def _ends_english(piece: str, found: re.Match[str]) -> bool:
    following = _NEXT_WORD.match(piece, found.end())
    if following and following[1].islower():
        return False

    if found[0] != ".":
        return found[0] != "..." or following is None or following[1].isupper()

    before = _WORD_BEFORE.search(piece, max(0, found.start() - 40), found.start())
    word = before[0].lower() if before else ""
    is_initial = len(word) == 1 and word.isalpha() and word != "i"
    is_item = word.isdigit() and piece[: found.start()].rpartition("\n")[2].strip() == word
    return word not in _ABBREVIATIONS and not is_initial and not is_item


def _stripped(text: str, start: int, end: int) -> Span:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
