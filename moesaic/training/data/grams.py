"""Text as units and hashed n-grams, for duplicates, contamination, selection and classification alike.

A unit is a word, or a single character of a script that writes no spaces between words (Chinese, Japanese). So one
rule serves English, Chinese and texts that mix them: five units are five words, or five characters. Case and
compatibility forms (full-width letters) do not count: units are those of the NFKC form in lower case.

Everything is numpy from the characters on, and the same in every process and on every machine, as Python's own `hash`
is not. The hashes are polynomials modulo 2**64 over mixed code points: quick, but no protection from texts that are
made to collide.

Legend: C characters, U units.
"""

import unicodedata
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Hashes", "Units", "grams", "mixed", "shingles", "units_of"]

Hashes = npt.NDArray[np.uint64]

_NOTHING, _WORD, _SINGLE, _PUNCTUATION = range(4)
_SINGLES = ((0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
"""Kana and Han: scripts without spaces."""
_CODES = 0x110000
_CLASSIFIED = 0x20000
_CHARACTER_BASE = 0x9E3779B97F4A7C15
_UNIT_BASE = 0xD1B54A32D192ED03


class Units(NamedTuple):
    """The units of a text."""

    hashes: Hashes
    """One for each unit [U]."""
    single: npt.NDArray[np.bool_]
    """Whether a unit is a character of a script without spaces [U]."""


def units_of(text: str, *, punctuation: bool = False) -> Units:
    """The units of a text, in order; runs of punctuation are units too if asked for."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    codes_C = np.frombuffer(text.lower().encode("utf-32-le", "surrogatepass"), dtype="<u4")
    classes_C = _classes()[codes_C]
    if not punctuation:
        classes_C = np.where(classes_C == _PUNCTUATION, _NOTHING, classes_C)
    kept_C = classes_C != _NOTHING
    begins_C = kept_C & (classes_C == _SINGLE)
    begins_C[:1] |= kept_C[:1]
    begins_C[1:] |= kept_C[1:] & (classes_C[1:] != classes_C[:-1])

    # From here on only characters of units count: a unit ends where the next begins.
    begins_C = begins_C[kept_C]
    starts_U = np.flatnonzero(begins_C)
    if not starts_U.size:
        return Units(np.empty(0, np.uint64), np.empty(0, np.bool_))

    lengths_U = np.diff(starts_U, append=begins_C.size)
    places_C = np.arange(begins_C.size) - np.repeat(starts_U, lengths_U)
    values_C = mixed(codes_C[kept_C].astype(np.uint64) + np.uint64(1))
    powers = _powers(_CHARACTER_BASE, int(lengths_U.max()))
    hashes_U = mixed(np.add.reduceat(values_C * powers[places_C], starts_U))
    return Units(hashes_U, classes_C[kept_C][starts_U] == _SINGLE)


def grams(hashes_U: Hashes, size: int) -> Hashes:
    """Hashes of all runs of `size` units [max(0, U - size + 1)], in order."""
    count = hashes_U.size - size + 1
    if count < 1:
        return np.empty(0, np.uint64)

    total = np.zeros(count, np.uint64)
    for place, power in enumerate(_powers(_UNIT_BASE, size)):
        total += hashes_U[place : place + count] * power
    return mixed(total)


def shingles(text: str, size: int = 5) -> Hashes:
    """The set of a text's runs of `size` units, sorted; a shorter text is one shingle, one without units none."""
    hashes_U = units_of(text).hashes
    return np.unique(grams(hashes_U, min(size, max(1, hashes_U.size))))


def mixed(values: Hashes) -> Hashes:
    """Spread bits: the finalizer of SplitMix64 (Steele, Lea and Flood 2014, figure 17)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _powers(base: int, count: int) -> Hashes:
    """The first `count` powers of a base modulo 2**64."""
    powers = np.full(count, base, np.uint64)
    powers[:1] = 1
    return np.cumprod(powers)


@cache
def _classes() -> npt.NDArray[np.uint8]:
    """Class of every code point."""
    table = np.full(_CODES, _NOTHING, np.uint8)
    for code in range(_CLASSIFIED):
        category = unicodedata.category(chr(code))
        if category[0] in "LNM" or category == "Pc":
            table[code] = _WORD
        elif category[0] in "PS":
            table[code] = _PUNCTUATION
    for first, last in _SINGLES:
        table[first : last + 1] = _SINGLE
    return table
