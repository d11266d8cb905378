"""The rules that a text must keep to be trained on: a measure each, and the range that it must lie in.

Sources: Gopher (Rae et al. 2021, arXiv:2112.11446, appendix A.1), C4 (Raffel et al. 2020, arXiv:1910.10683, section
2.2), FineWeb (Penedo et al. 2024, arXiv:2406.17557, section 3.6). How this differs:

1. Rules about words hold for English alone; Chinese has its own, in characters, with limits from the same shape of
   distribution: a word of Chinese has two characters, and lines end with 。 rather than a period.
2. Repetition is measured on segmented words in Chinese.
3. C4's rules against braces and the word JavaScript are left out, and so is its rule that every line ends with a mark:
   technical documentation, which this is made for, would not survive them.
4. A repeated n-gram does not count where it occurs first.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from moesaic.training.data.text_facts import TextFacts

__all__ = ["RULES", "Rule"]

_BULLET = re.compile(r"^(?:[-*•‣▪●○·]|\d{1,3}[.)、])(?:\s|(?<=、))")
_DIGITS = re.compile(r"[0-9０-９]+")
_URL_OR_SYMBOL = re.compile(r"https?://[^\s，。；）]+|[#*_=~^|<>{}\\/@$%&+]+")
_ELLIPSIS = re.compile(r"\.\.\.|…")
_STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
_SHORT_LINE = 30


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A measure of a text, and its least and most allowed value."""

    name: str
    measure: Callable[[TextFacts], float]
    least: float = float("-inf")
    most: float = float("inf")
    languages: tuple[str, ...] = ("en", "zh")
    meaning: str = ""

    def allows(self, value: float) -> bool:
        """Whether a value lies in the range."""
        return self.least <= value <= self.most


def _words(facts: TextFacts) -> int:
    return max(1, len(facts.words))


def _share_of_lines(facts: TextFacts, holds: Callable[[str], object]) -> float:
    return sum(bool(holds(line)) for line in facts.lines) / max(1, len(facts.lines))


def _stop_words(facts: TextFacts) -> int:
    return len(_STOP_WORDS.intersection(word.lower() for word in facts.words))


ENGLISH = (
    Rule(name="words", measure=_words, least=50, most=100_000, meaning="number of words (Gopher)"),
    Rule(
        name="mean_word_length",
        measure=lambda facts: sum(map(len, facts.words)) / _words(facts),
        least=3,
        most=10,
        meaning="characters of a word (Gopher)",
    ),
    Rule(
        name="symbols_per_word",
        measure=lambda facts: (facts.text.count("#") + len(_ELLIPSIS.findall(facts.text))) / _words(facts),
        most=0.1,
        meaning="hash signs and ellipses per word (Gopher)",
    ),
    Rule(
        name="words_with_letters",
        measure=lambda facts: sum(any(map(str.isalpha, word)) for word in facts.words) / _words(facts),
        least=0.8,
        meaning="share of words that have a letter (Gopher)",
    ),
    Rule(name="stop_words", measure=_stop_words, least=2, meaning="how many of eight frequent words occur (Gopher)"),
    Rule(
        name="short_lines",
        measure=lambda facts: _share_of_lines(facts, lambda line: len(line) < _SHORT_LINE),
        most=0.67,
        meaning="share of lines below 30 characters (FineWeb)",
    ),
    Rule(
        name="lines_per_word",
        measure=lambda facts: len(facts.lines) / _words(facts),
        most=0.3,
        meaning="lines per word: lists (FineWeb)",
    ),
)
"""Rules for English alone."""

CHINESE = (
    Rule(
        name="characters",
        measure=lambda facts: facts.visible,
        least=50,
        most=100_000,
        meaning="characters that are no white space",
    ),
    Rule(
        name="han_share",
        measure=lambda facts: facts.han / facts.visible,
        least=0.3,
        meaning="share of Chinese characters",
    ),
    Rule(name="digit_share", measure=lambda facts: facts.share(_DIGITS), most=0.3, meaning="share of digits"),
    Rule(
        name="symbol_share",
        measure=lambda facts: facts.share(_URL_OR_SYMBOL),
        most=0.1,
        meaning="share of addresses and symbols",
    ),
)
"""Rules for Chinese alone."""

EVERY_LANGUAGE = (
    Rule(
        name="bullet_lines",
        measure=lambda facts: _share_of_lines(facts, _BULLET.match),
        most=0.9,
        meaning="share of lines that are list items (Gopher)",
    ),
    Rule(
        name="ellipsis_lines",
        measure=lambda facts: _share_of_lines(facts, lambda line: line.endswith(("...", "…"))),
        most=0.3,
        meaning="share of lines that are cut off (Gopher)",
    ),
    Rule(
        name="ended_lines",
        measure=lambda facts: facts.ended_lines,
        least=0.12,
        meaning="share of lines that end with a mark (FineWeb)",
    ),
    Rule(
        name="replaced_characters",
        measure=lambda facts: facts.text.count("\ufffd") / facts.visible,
        most=0.001,
        meaning="share of characters that could not be decoded",
    ),
    Rule(
        name="duplicate_lines",
        measure=lambda facts: facts.duplicate_share(facts.lines)[0],
        most=0.3,
        meaning="share of lines that stood there before (Gopher)",
    ),
    Rule(
        name="duplicate_line_characters",
        measure=lambda facts: facts.duplicate_share(facts.lines)[1],
        most=0.2,
        meaning="share of characters in such lines (Gopher)",
    ),
    Rule(
        name="duplicate_paragraphs",
        measure=lambda facts: facts.duplicate_share(facts.paragraphs)[0],
        most=0.3,
        meaning="share of paragraphs that stood there before (Gopher)",
    ),
    Rule(
        name="duplicate_paragraph_characters",
        measure=lambda facts: facts.duplicate_share(facts.paragraphs)[1],
        most=0.2,
        meaning="share of characters in such paragraphs (Gopher)",
    ),
)
"""Rules for both languages, besides those about n-grams."""


def _top(size: int, most: float) -> Rule:
    return Rule(
        name=f"top_{size}_gram",
        measure=lambda facts: facts.repetition.top[size],
        most=most,
        meaning=f"share of characters in the most frequent run of {size} words (Gopher)",
    )


def _duplicate(size: int, most: float) -> Rule:
    return Rule(
        name=f"duplicate_{size}_grams",
        measure=lambda facts: facts.repetition.duplicate[size],
        most=most,
        meaning=f"share of characters in repeated runs of {size} words (Gopher)",
    )


def _for(language: str, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    return tuple(
        Rule(
            name=rule.name,
            measure=rule.measure,
            least=rule.least,
            most=rule.most,
            languages=(language,),
            meaning=rule.meaning,
        )
        for rule in rules
    )


RULES: tuple[Rule, ...] = (
    *_for("en", ENGLISH),
    *_for("zh", CHINESE),
    *EVERY_LANGUAGE,
    *(_top(size, most) for size, most in ((2, 0.20), (3, 0.18), (4, 0.16))),
    *(_duplicate(size, most) for size, most in zip(range(5, 11), (0.15, 0.14, 0.13, 0.12, 0.11, 0.10), strict=True)),
)
"""All rules, in the order in which they are reported."""
