"""Spans of retrieved passages that may be cited: a sentence or a few adjacent ones, at most 300 characters.

- A span holds whole sentences of one paragraph. A heading, a signature or a line that ends with a colon stays with what
  follows it, for neither says much alone.
- A sentence longer than a quote may be is cut between words; Chinese is cut after a comma, or anywhere.
- Text that passages share, or that several documents repeat word for word, is a candidate once: where it was ranked
  best.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from moesaic.chains.citation import MAX_QUOTE
from moesaic.retrieval import Passage, sentences

__all__ = ["CandidateSpan", "candidate_spans"]

_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")
_ENDS_A_SENTENCE = re.compile(r"[.!?。！？…][\"'”’»)\]）】」』》]*\Z")
_WORD = re.compile(r"\w")
_CHINESE_PAUSE = re.compile(r"[，、；：。！？]")


@dataclass(frozen=True, kw_only=True)
class CandidateSpan:
    """A span of a document that may be cited."""

    document: str
    start: int
    end: int
    """`base.text(document)[start:end]` is `text`, exactly."""
    text: str
    passage: int
    """Index of the passage that it lies in; 0 is the best one."""


def candidate_spans(passages: Sequence[Passage]) -> list[CandidateSpan]:
    """All spans of the passages, in their order."""
    spans: list[CandidateSpan] = []
    places: set[tuple[str, int, int]] = set()
    texts: set[str] = set()
    for index, passage in enumerate(passages):
        for start, end in _groups(passage.text):
            text = passage.text[start:end]
            place = passage.document_id, passage.start + start, passage.start + end
            words = " ".join(text.split())
            if place in places or words in texts or not _WORD.search(text):
                continue
            places.add(place)
            texts.add(words)
            spans.append(CandidateSpan(document=place[0], start=place[1], end=place[2], text=text, passage=index))
    return spans


def _groups(text: str) -> Iterator[tuple[int, int]]:
    """Adjacent pieces, together as long as a quote may be and the paragraph goes on."""
    begin = end = 0
    for start, stop in _pieces(text):
        goes_on = not _BLANK_LINE.search(text, end, start) or not _ENDS_A_SENTENCE.search(text, begin, end)
        if end and goes_on and stop - begin <= MAX_QUOTE:
            end = stop
            continue
        if end:
            yield begin, end
        begin, end = start, stop
    if end:
        yield begin, end


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """Sentences, those cut that are longer than a quote may be."""
    for start, end in sentences(text):
        while end - start > MAX_QUOTE:
            cut = _cut(text, start, start + MAX_QUOTE)
            yield start, start + len(text[start:cut].rstrip())
            start = cut + len(text[cut:end]) - len(text[cut:end].lstrip())
        yield start, end


def _cut(text: str, start: int, limit: int) -> int:
    """Where to cut before `limit`: between words, else behind Chinese punctuation, else at the limit itself."""
    half = start + (limit - start) // 2
    blanks = [found.start() for found in re.finditer(r"\s", text[half : limit + 1])]
    if blanks:
        return half + blanks[-1]
    pauses = [found.end() for found in _CHINESE_PAUSE.finditer(text, half, limit)]
    return pauses[-1] if pauses else limit
