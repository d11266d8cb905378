"""Text folded to what a reader, or a careless tokenizer, takes it for: the form in which attacks are looked for.

Full-width and mathematical letters become plain ones, bars and brackets of other scripts become | and <, Cyrillic and
Greek letters of Latin shape become Latin, and what is invisible vanishes. Each folded character knows where it stood,
so that what is found can be replaced in the text itself, which is otherwise left as it was.
"""

import unicodedata
from functools import lru_cache
from typing import NamedTuple

__all__ = ["Folded", "folded", "is_invisible"]

_SHAPES = {
    "<": "‹〈᚜ᐸ˂❮≺",
    ">": "›〉᚛ᐳ˃❯≻",
    "|": "∣ǀ│┃❘⎮ⵏ¦",
    "_": "▁‗⎯",
    "/": "∕⁄╱",
    ":": "：ː∶꞉",
    '"': "“”„‟〃",
    "a": "аα",
    "c": "сϲ",
    "e": "еε",
    "i": "іιı",
    "k": "κ",
    "m": "м",
    "n": "ո",
    "o": "оο",
    "p": "рρ",
    "s": "ѕ",
    "t": "тτ",
    "u": "υ",
    "x": "хχ",
    "y": "уγ",
    "I": "ІΙ",
    "N": "Ν",
    "S": "Ѕ",
    "T": "ТΤ",
}
_PLAIN = {sign: plain for plain, signs in _SHAPES.items() for sign in signs}
_INVISIBLE_RANGES = (
    (0x034F, 0x034F),
    (0x061C, 0x061C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0xFE00, 0xFE0F),
    (0xFFF9, 0xFFFB),
    (0xE0000, 0xE0FFF),
)


class Folded(NamedTuple):
    """Folded text; `places[i]` is where its character i stands in the text."""

    text: str
    places: list[int]


def folded(text: str) -> Folded:
    """The text as it looks."""
    parts: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        plain = _folded_character(character)
        parts.append(plain)
        places.extend([place] * len(plain))
    return Folded("".join(parts), places)


def is_invisible(character: str) -> bool:
    """Whether nothing is seen of a character, and no line or word ends with it."""
    code = ord(character)
    if unicodedata.category(character) in ("Cf", "Cc", "Cn", "Co", "Cs") and character not in "\t\n\r":
        return True
    return any(low <= code <= high for low, high in _INVISIBLE_RANGES)


@lru_cache(maxsize=65_536)
def _folded_character(character: str) -> str:
    if character.isascii():
        return "" if (character < " " and character not in "\t\n\r") or character == "\x7f" else character
    if is_invisible(character):
        return ""
    if character in _PLAIN:
        return _PLAIN[character]
    normal = unicodedata.normalize("NFKC", character)
    # Accents that were put on top of letters make them no other letters.
    bare = [part for part in unicodedata.normalize("NFD", normal) if not unicodedata.combining(part)]
    return "".join(_PLAIN.get(part, part) for part in bare)
