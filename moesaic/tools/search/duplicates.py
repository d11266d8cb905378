"""Results that are the same page, or say the same: each is given once, at its best place.

Two texts say nearly the same if most of their runs of four letters are shared (Broder, On the resemblance and
containment of documents, 1997, by exact sets: there are dozens of results, not millions). Numbers must be the same: the
notes of two releases differ in little else.
"""

import dataclasses
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from moesaic.tools.search.result import SearchResult
from moesaic.tools.search.url_spelling import page_key

__all__ = ["without_duplicates"]

_RUN = 4
_SHARED = 0.85
_SHORTEST = 40
"""Texts of fewer letters say too little to be compared; a Chinese character counts for two."""
_NUMBERS = re.compile(r"\d+")
_NO_LETTERS = re.compile(r"[\W_]+")
_WIDE = re.compile("[\u2e80-\u9fff\uac00-\ud7af]")


class _Text(NamedTuple):
    runs: frozenset[str]
    numbers: tuple[str, ...]


def without_duplicates(results: Sequence[SearchResult]) -> list[SearchResult]:
    """The results in their order, ranked anew from 1; what was left out is named in `also_at` of what it repeats.

    Passages of a knowledge base are never left out for what they say: each is a span of its own.
    """
    kept: list[SearchResult] = []
    texts: list[_Text | None] = []
    places: dict[str, int] = {}
    for result in results:
        key = page_key(result.url)
        text = None if result.span is not None else _text_of(result)
        place = places.get(key)
        if place is None:
            place = next((place for place, other in enumerate(texts) if _say_the_same(text, other)), None)
        if place is None:
            places[key] = len(kept)
            kept.append(result)
            texts.append(text)
            continue

        places[key] = place
        first = kept[place]
        if result.url != first.url and result.url not in first.also_at:
            kept[place] = dataclasses.replace(first, also_at=(*first.also_at, result.url))
    return [dataclasses.replace(result, rank=rank) for rank, result in enumerate(kept, start=1)]


def _text_of(result: SearchResult) -> _Text | None:
    whole = unicodedata.normalize("NFKC", f"{result.title} {result.snippet}").casefold()
    letters = _NO_LETTERS.sub("", whole)
    if len(letters) + len(_WIDE.findall(letters)) < _SHORTEST:
        return None

    runs = frozenset(letters[start : start + _RUN] for start in range(len(letters) - _RUN + 1))
    return _Text(runs, tuple(sorted(_NUMBERS.findall(whole))))


def _say_the_same(one: _Text | None, other: _Text | None) -> bool:
    if one is None or other is None or one.numbers != other.numbers:
        return False

    shared = len(one.runs & other.runs)
    return shared >= _SHARED * (len(one.runs) + len(other.runs) - shared)
