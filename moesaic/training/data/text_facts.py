"""What the rules of cleaning look at, computed once for a text."""

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import rjieba

from moesaic.training.data.grams import Hashes, grams

__all__ = ["Language", "NgramRepetition", "TextFacts", "language_of"]

Language = str
"""`zh`, `en`, or `other` for neither: its script decides, and of the Latin script the frequent English words."""

_Ints = npt.NDArray[np.int64]

_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_KANA = re.compile("[\u3041-\u30ff]")
_LETTER = re.compile(r"[^\W\d_]")
_LATIN = re.compile("[A-Za-z]")
_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_CHINESE_SHARE = 0.3
_KANA_SHARE = 0.1
_LATIN_SHARE = 0.7
_FREQUENT = "the of and to in a is that it for with as on are be this by or from at not you an"
_ENGLISH_WORDS = frozenset(_FREQUENT.split())
_ENGLISH_SHARE = 0.05
_ENGLISH_LOOKED_AT = 20_000
_LINES_END = "。！？；…：.!?;:”\"'）)"


@dataclass(frozen=True, kw_only=True)
class NgramRepetition:
    """How much of a text its repeated n-grams make up, as shares of its characters."""

    top: dict[int, float]
    """Share of the most frequent n-gram of 2, 3 and 4 words."""
    duplicate: dict[int, float]
    """Share of what lies in n-grams of 5 to 10 words that occur more than once."""


class TextFacts:
    """A text in normal form, and its facts, each computed when it is first asked for."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def language(self) -> Language:
        """What it is written in."""
        return language_of(self.text)

    @cached_property
    def lines(self) -> list[str]:
        """Lines that are not empty, without spaces around them."""
        return [line for line in map(str.strip, self.text.split("\n")) if line]

    @cached_property
    def paragraphs(self) -> list[str]:
        """Blocks between empty lines."""
        return [block for block in map(str.strip, self.text.split("\n\n")) if block]

    @cached_property
    def words(self) -> list[str]:
        """Words: of Chinese as a segmenter cuts them, of other languages between spaces and punctuation."""
        if self.language == "zh":
            return [word for word in rjieba.cut(self.text) if _WORD.match(word)]

        return _WORD.findall(self.text)

    @cached_property
    def han(self) -> int:
        """Number of Chinese characters."""
        return len(_HAN.findall(self.text))

    @cached_property
    def visible(self) -> int:
        """Characters that are no white space; at least 1."""
        return max(1, sum(map(len, self.text.split())))

    def share(self, pattern: re.Pattern[str]) -> float:
        """Share of the visible characters that the matches of a pattern make up."""
        return sum(len(found[0]) for found in pattern.finditer(self.text)) / self.visible

    def duplicate_share(self, parts: list[str]) -> tuple[float, float]:
        """Share of parts that repeat an earlier one, and of characters in them."""
        counts = Counter(parts)
        repeated = len(parts) - len(counts)
        characters = sum(len(part) * (count - 1) for part, count in counts.items())
        return repeated / max(1, len(parts)), characters / self.visible

    @cached_property
    def ended_lines(self) -> float:
        """Share of lines that end with a mark at which a sentence or clause ends."""
        return sum(line[-1] in _LINES_END for line in self.lines) / max(1, len(self.lines))

    @cached_property
    def repetition(self) -> NgramRepetition:
        """Repeated n-grams (Gopher: Rae et al. 2021, arXiv:2112.11446, table A1)."""
        lengths = np.fromiter(map(len, self.words), dtype=np.int64, count=len(self.words))
        total = max(1, int(lengths.sum()))
        hashes = _word_hashes(self.words)
        top = {size: _top_characters(hashes, lengths, size) / total for size in (2, 3, 4)}
        duplicate = {size: _duplicate_characters(hashes, lengths, size) / total for size in range(5, 11)}
        return NgramRepetition(top=top, duplicate=duplicate)


def language_of(text: str) -> Language:
    """`zh`, `en` or `other`."""
    letters = len(_LETTER.findall(text))
    if not letters:
        return "other"

    han, kana = len(_HAN.findall(text)), len(_KANA.findall(text))
    if han / letters >= _CHINESE_SHARE:
        return "zh" if kana <= _KANA_SHARE * han else "other"

    if len(_LATIN.findall(text)) / letters < _LATIN_SHARE:
        return "other"

    words = [word.lower() for word in re.findall(r"[A-Za-z]+", text[:_ENGLISH_LOOKED_AT])]
    frequent = sum(word in _ENGLISH_WORDS for word in words)
    return "en" if frequent >= _ENGLISH_SHARE * len(words) else "other"


def _word_hashes(words: list[str]) -> Hashes:
    """One hash for each word; equal for equal words of this text."""
    numbers: dict[str, int] = {}
    found = [numbers.setdefault(word.lower(), len(numbers)) for word in words]
    return np.asarray(found, dtype=np.uint64)


def _top_characters(hashes: Hashes, lengths: _Ints, size: int) -> int:
    """Characters in all occurrences of the most frequent n-gram, 0 if none occurs twice."""
    found = grams(hashes, size)
    if not found.size:
        return 0

    _, inverse, counts = np.unique(found, return_inverse=True, return_counts=True)
    best = int(counts.argmax())
    return _covered(np.flatnonzero(inverse == best), lengths, size) if counts[best] > 1 else 0


def _duplicate_characters(hashes: Hashes, lengths: _Ints, size: int) -> int:
    """Characters in n-grams that stood there before."""
    found = grams(hashes, size)
    if not found.size:
        return 0

    _, firsts = np.unique(found, return_index=True)
    repeats = np.ones(found.size, dtype=np.bool_)
    repeats[firsts] = False
    return _covered(np.flatnonzero(repeats), lengths, size)


def _covered(places: _Ints, lengths: _Ints, size: int) -> int:
    """Characters of the words that lie in n-grams at these places, each counted once where they overlap."""
    edges = np.zeros(lengths.size + 1, dtype=np.int64)
    np.add.at(edges, places, 1)
    np.add.at(edges, places + size, -1)
    return int(lengths[np.cumsum(edges)[:-1] > 0].sum())
