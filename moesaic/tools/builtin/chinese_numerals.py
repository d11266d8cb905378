"""Numbers written in Chinese: 三千五百, 两万零三十, 三点一四, 1.5亿, 3万5千, 二〇二四, 三分之二, 百分之五.

The formal signs (壹贰叁…) count as well. Digits in a row are a number in positional notation (二〇二四 is 2024).
"""

import re
from fractions import Fraction

from moesaic.errors import ToolArgumentError

__all__ = ["NUMERAL", "chinese_number", "with_plain_numbers"]

_DIGITS = {
    sign: value
    for value, signs in enumerate(["零〇", "一壹", "二两贰", "三叁", "四肆", "五伍", "六陆", "七柒", "八捌", "九玖"])
    for sign in signs
}
_TENS = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000}
_LARGE = {"万": 10**4, "亿": 10**8, "兆": 10**12}
_SIGNS = "".join([*_DIGITS, *_TENS, *_LARGE])

NUMERAL = rf"(?:\d[\d.]*|[{_SIGNS}])[\d.{_SIGNS}点半]*"
"""Pattern of a number whose signs may be Chinese, Western, or both."""

_HAS_CHINESE = re.compile(rf"[{_SIGNS}]")
_RUN = re.compile(NUMERAL)
_FRACTION = re.compile(rf"({NUMERAL})分之({NUMERAL})")
_MAX_SIGNS = 60


def with_plain_numbers(text: str) -> str:
    """The text with its Chinese numbers in Western digits; fractions and percentages in parentheses.

    Raises:
        ToolArgumentError: a run of numerals is no number.
    """
    text = _FRACTION.sub(lambda found: f"({_plain(found[2])}/{_plain(found[1])})", text)
    return _RUN.sub(lambda found: _plain(found[0]), text)


def chinese_number(text: str) -> Fraction:
    """The value of a number in Chinese or mixed signs.

    Raises:
        ToolArgumentError: it is no number.
    """
    if len(text) > _MAX_SIGNS:
        raise ToolArgumentError("", f"the number {text[:20]!r}… has {len(text)} signs; at most {_MAX_SIGNS} are read")
    whole, _, decimals = text.partition("点")
    if decimals and all(sign in _DIGITS or sign.isdigit() for sign in decimals):
        digits = "".join(str(_DIGITS.get(sign, sign)) for sign in decimals)
        return _whole(whole) + Fraction(int(digits), 10 ** len(digits))
    if decimals[-1:] in _LARGE and "点" not in decimals:  # 三点五亿
        return chinese_number(f"{whole}点{decimals[:-1]}") * _LARGE[decimals[-1]]
    if "点" in text:
        raise _no_number(text)
    return _whole(whole)


def _plain(text: str) -> str:
    """A run in Western digits; what has no Chinese sign stays as it is."""
    if not _HAS_CHINESE.search(text) and not text.endswith("半"):
        return text
    value = chinese_number(text)
    return str(value.numerator) if value.denominator == 1 else f"({value.numerator}/{value.denominator})"


def _whole(text: str) -> Fraction:
    """The value of signs without a decimal point."""
    if text and all(sign in _DIGITS for sign in text):
        return Fraction("".join(str(_DIGITS[sign]) for sign in text))

    total, section, number = Fraction(0), Fraction(0), None
    rest = text
    last_unit = 10**16
    while rest:
        if western := re.match(r"\d+(?:\.\d+)?", rest):
            if number is not None:
                raise _no_number(text)
            number, rest = Fraction(western[0]), rest[western.end() :]
            continue
        sign, rest = rest[0], rest[1:]
        if sign in _DIGITS:
            if number:  # 三四百 is a guess, not a number
                raise _no_number(text)
            number = Fraction(_DIGITS[sign])
        elif sign in _TENS:
            section += (1 if number is None or number == 0 else number) * _TENS[sign]
            number, last_unit = None, _TENS[sign]
        elif sign in _LARGE:
            large = _LARGE[sign]
            section += number or 0
            total = (total + section) * large if 0 < total < large else total + (section or 1) * large
            section, number, last_unit = Fraction(0), None, large
        elif sign == "半" and not rest:
            section += Fraction(last_unit if last_unit < 10**16 else 1, 2) if text != "半" else Fraction(1, 2)
        else:
            raise _no_number(text)
    if number is not None and 10 < last_unit < 10**16 and _elliptic(text):
        number *= Fraction(last_unit, 10)  # 三千五 is 3500
    return total + section + (number or 0)


def _elliptic(text: str) -> bool:
    """Whether the last digit follows a unit at once: 三千五, but neither 三千零五 nor 1万5000."""
    return text[-1] in _DIGITS and len(text) > 1 and (text[-2] in _TENS or text[-2] in _LARGE)


def _no_number(text: str) -> ToolArgumentError:
    return ToolArgumentError("", f"{text[:40]!r} is no number: write its digits")
