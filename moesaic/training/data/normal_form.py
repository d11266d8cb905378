"""The one form that texts are brought into before rules look at them.

- Line ends become line feeds; control and zero-width characters go; spaces at line ends go, and of several empty lines
  one stays.
- Accents are composed (NFC), and of the compatibility forms only these become ordinary ones (NFKC): full-width letters
  and digits, half-width kana, ligatures, and the many kinds of space. The whole of NFKC would turn ， into a comma,
  which no Chinese text wants, and x² into x2, which means something else.
- Traditional characters stay traditional.
"""

import re
import unicodedata

__all__ = ["normal_form"]

_LINE_ENDS = re.compile("\r\n?|[\u2028\u2029\x0b\x0c\x85]")
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\ufeff\ud800-\udfff]"
)
_TRAILING = re.compile(r"[ \t]+$", re.MULTILINE)
_EMPTY_LINES = re.compile(r"\n{3,}")
_COMPATIBLE = re.compile(
    "[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\uff66-\uff9f\ufb00-\ufb06\xa0\u2000-\u200a\u202f\u205f\u3000]+"
)


def normal_form(text: str) -> str:
    """The text in its normal form; a second time changes nothing."""
    text = _LINE_ENDS.sub("\n", text)
    text = _INVISIBLE.sub("", text)
    if not text.isascii():
        text = unicodedata.normalize("NFC", _COMPATIBLE.sub(_ordinary, text))
    text = _TRAILING.sub("", text)
    return _EMPTY_LINES.sub("\n\n", text).strip()


def _ordinary(run: re.Match[str]) -> str:
    return unicodedata.normalize("NFKC", run[0])
