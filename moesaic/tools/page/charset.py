"""From the bytes of a page to its text, whatever is said about their encoding.

What is said is believed where it fits: byte order mark, then the HTTP header, then the page's own declaration. It fits
if the bytes can be read so, and if the outcome looks like writing: declared encodings of Chinese are mixed up so often
that text in rare characters alone is taken for a mistake. Then UTF-8, GB18030 and Big5 are tried, and what
charset-normalizer finds. Labels mean what the WHATWG Encoding standard says (GB2312 and GBK are GB18030, ISO-8859-1 is
windows-1252).
"""

import codecs
import re
from collections.abc import Iterator

import charset_normalizer

__all__ = ["decode_page"]

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_MEANT = {
    "ascii": "cp1252",
    "big5": "big5hkscs",
    "cp936": "gb18030",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "iso8859-1": "cp1252",
    "shift_jis": "cp932",
    "tis-620": "cp874",
}
"""What a label means, by the name that Python's codec has; other labels mean themselves."""
_CHINESE = ("utf-8", "gb18030", "big5hkscs")
_DECLARED = re.compile(
    rb"""<(?:meta[^>]{0,500}?charset\s*=|\?xml[^>]{0,200}?encoding\s*=)\s*["']?\s*([\w.:-]{1,40})""", re.I
)
_DECLARED_WITHIN = 4096
_SAMPLE_BYTES = 2**16
_PLAUSIBLE = 0.7
_NO_CHARSET = frozenset(
    {"idna", "mbcs", "oem", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"}
)


def decode_page(body: bytes, *, label: str, is_markup: bool) -> tuple[str, str]:
    """The text, and the Python name of the encoding that it was read in. Bytes that fit nowhere become U+FFFD.

    Args:
        body: the bytes.
        label: the charset of the HTTP header, empty if it names none.
        is_markup: whether the page may declare its encoding itself.
    """
    for mark, name in _MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(name, errors="replace"), name

    best_name, best_text, best_score = "utf-8", "", -1.0
    for name in _candidates(body, label, is_markup):
        try:
            text = body.decode(name)
        except UnicodeDecodeError:
            continue
        score = _plausibility(text[:_SAMPLE_BYTES])
        if score >= _PLAUSIBLE:
            return text, name

        if score > best_score:
            best_name, best_text, best_score = name, text, score
    if best_score >= 0:
        return best_text, best_name

    name = next(_candidates(body, label, is_markup))
    return body.decode(name, errors="replace"), name


def _candidates(body: bytes, label: str, is_markup: bool) -> Iterator[str]:
    declared = _DECLARED.search(body[:_DECLARED_WITHIN]) if is_markup else None
    labels = (label, declared[1].decode("ascii") if declared else "")
    named = [name for name in map(_codec, labels) if name]
    # Any bytes can be read as windows-1252, the label of servers that were never set up: what is stricter goes first.
    strict = [name for name in named if name != "cp1252"]
    yield from dict.fromkeys((*strict, *_CHINESE[:1], *(named if len(named) > len(strict) else ())))
    yield from (name for name in _CHINESE if name not in strict)
    if found := charset_normalizer.from_bytes(body[:_SAMPLE_BYTES]).best():
        yield found.encoding
    yield "cp1252"


def _codec(label: str) -> str | None:
    """Python's name for the encoding that a label means; None if there is none, or it makes no text."""
    try:
        name = codecs.lookup(label.strip().strip("\"'")).name
        b"x".decode(name)  # some of Python's codecs turn bytes into bytes
    except (LookupError, ValueError):
        return None

    if name.replace("_", "-") in _NO_CHARSET:
        return None
    return _MEANT.get(name, name)


def _plausibility(text: str) -> float:
    """Share, among the characters beyond ASCII, of those that ordinary writing uses; 1 if there are none."""
    foreign = [character for character in text if character >= "\x80"]
    return sum(map(_is_ordinary, foreign)) / len(foreign) if foreign else 1.0


def _is_ordinary(character: str) -> bool:
    code = ord(character)
    if 0x4E00 <= code <= 0x9FFF:
        return _is_common_chinese(character)
    if 0xE000 <= code <= 0xF8FF or code >= 0x20000 or 0x3400 <= code <= 0x4DBF:
        return False  # private, or the rarest of Chinese: where wrong readings of GB18030 and Big5 end up
    return (code >= 0xA0 and character.isprintable()) or character in "\xa0\u3000\u200b\ufeff\xad\u200d\u200e"


def _is_common_chinese(character: str) -> bool:
    """Whether it is of the first level of GB 2312 or Big5, which are the characters in common use."""
    for name, first, last in (("gb2312", 0xB0, 0xD7), ("big5", 0xA4, 0xC6)):
        try:
            lead = character.encode(name)[0]
        except UnicodeEncodeError:
            continue
        if first <= lead <= last:
            return True
    return False
