"""Texts for tests: English and Chinese that keep the rules of cleaning, and random ones to plant things in."""

import random

__all__ = ["CHINESE", "ENGLISH", "changed_words", "random_chinese", "random_words"]

ENGLISH = (
    "The committee met on Tuesday to discuss the budget for the coming year, and most of the members agreed that it "
    "was too small. They will have another meeting with the mayor of the town before the end of the month.\n\n"
    "In the meantime the library stays open. Visitors can borrow books, read newspapers and use the computers that "
    "were bought last spring, as long as somebody is there to help them with the new system."
)

CHINESE = (
    "委员会在星期二讨论了下一年度的预算，大多数成员认为金额太小。月底之前他们还要和市长再开一次会议。\n\n"
    "与此同时图书馆照常开放。读者可以借阅书籍、浏览报纸，也可以使用去年春天购买的电脑，只要有工作人员在场帮助他们熟悉新的系统。"
)

_SYLLABLES = [consonant + vowel for consonant in "bcdfghklmnprstvw" for vowel in "aeiou"]
_WORDS = [
    _SYLLABLES[number % 80] + _SYLLABLES[number // 80] + _SYLLABLES[(7 * number + number // 80) % 80]
    for number in range(3000)
]
_HAN = [chr(0x4E00 + number) for number in range(2500)]


def random_words(generator: random.Random, count: int, vocabulary: int = len(_WORDS)) -> list[str]:
    """Words drawn from the first of a fixed vocabulary."""
    return [generator.choice(_WORDS[:vocabulary]) for _ in range(count)]


def random_chinese(generator: random.Random, count: int) -> list[str]:
    """Chinese characters."""
    return [generator.choice(_HAN) for _ in range(count)]


def changed_words(generator: random.Random, words: list[str], share: float) -> list[str]:
    """The words, each replaced with this probability by another of the same kind."""
    pool = _HAN if words[0] in _HAN else _WORDS
    return [generator.choice(pool) if generator.random() < share else word for word in words]
