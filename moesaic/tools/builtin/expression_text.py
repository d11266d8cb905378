"""An expression as people write it, in the signs that the calculator reads.

Full-width digits and signs, × ÷ − · ² ½ √ π, Chinese numbers, units and words (三千五百加上百分之二十), and a few
words in English (15 percent of 80, 7 times 8) become plain digits, operators and names.
"""

import re
import unicodedata

from moesaic.tools.builtin.chinese_numerals import NUMERAL, with_plain_numbers

__all__ = ["plain_expression"]

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_SUPERSCRIPT = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+")
_VULGAR = re.compile(r"(\d*)\s*([¼½¾⅐-⅞])")
_SIGNS = str.maketrans(
    {"×": "*", "✕": "*", "∙": "*", "·": "*", "⋅": "*", "÷": "/", "∕": "/", "⁄": "/", "−": "-", "–": "-", "—": "-"}
    | {"π": " pi ", "→": " to ", "‰": "/1000", "“": " ", "”": " ", "（": "(", "）": ")", "【": "(", "】": ")"}
)

_UNITS = {
    "平方公里": "km^2",
    "平方千米": "km^2",
    "平方厘米": "cm^2",
    "平方米": "m^2",
    "公顷": "hectare",
    "亩": "mu_of_land",
    "立方厘米": "cm^3",
    "立方米": "m^3",
    "公里": "km",
    "千米": "km",
    "厘米": "cm",
    "毫米": "mm",
    "微米": "µm",
    "纳米": "nm",
    "英里": "mile",
    "英尺": "foot",
    "英寸": "inch",
    "海里": "nautical_mile",
    "光年": "light_year",
    "公斤": "kg",
    "千克": "kg",
    "毫克": "mg",
    "吨": "metric_ton",
    "磅": "pound",
    "毫升": "mL",
    "小时": "hour",
    "分钟": "minute",
    "毫秒": "ms",
    "星期": "week",
    "千瓦时": "kWh",
    "千瓦": "kW",
    "千卡": "kcal",
    "千焦": "kJ",
    "千帕": "kPa",
    "摄氏度": "degC",
    "华氏度": "degF",
    "开尔文": "kelvin",
    "米": "m",
    "斤": "jin",
    "克": "g",
    "升": "L",
    "秒": "s",
    "天": "day",
    "周": "week",
    "瓦": "W",
    "焦耳": "J",
    "牛顿": "N",
    "帕": "Pa",
    "伏": "V",
    "安培": "A",
    "每": "/",
}
_UNIT = re.compile("|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True)))

_WORDS: tuple[tuple[str, str], ...] = (
    (r"百分之百", "100%"),
    (rf"百分之({NUMERAL})", r"(\1/100)"),
    (r"(?:换算|转换|换|转)(?:成|为|到|作)", " to "),
    (rf"({NUMERAL}|\([^()]*\))\s*的平方根", r"√(\1)"),
    (r"根号", "√"),
    (r"的平方", "^2"),
    (r"的立方", "^3"),
    (rf"的({NUMERAL})次方", r"^(\1)"),
    (r"加上?", "+"),
    (r"减去?", "-"),
    (r"乘[以上]?", "*"),
    (r"除以", "/"),
    (r"(?:等于|是|合)(?:多少|几)\s*(?=[A-Za-zµ(])", " to "),
    (r"(?:等于|是|为)?(?:多少|几)?\s*[?=]*\s*$", ""),
    (r"(?<=[%)])\s*的|的\s*(?=[\d(])", "*"),
    (r"(?<!\w)半", "(1/2)"),
    (r"^\s*负", "-"),
    (r"(?i)^\s*(?:what\s+is|what's|calculate|compute|how\s+much\s+is|计算)\b", ""),
    (r"(?i)\bdivided\s+by\b", "/"),
    (r"(?i)\b(?:multiplied\s+by|times)\b", "*"),
    (r"(?i)\bplus\b", "+"),
    (r"(?i)\bminus\b", "-"),
    (r"(?i)\bpercent\b", "%"),
    (r"(?i)\bsquared\b", "^2"),
    (r"(?i)\bcubed\b", "^3"),
    (r"(?i)\bto\s+the\s+power\s+of\b", "^"),
    (r"\*\*", "^"),
    (r"->|=>", " to "),
    (r"°\s*([CF])\b", r" deg\1 "),
    (r"°", " degree "),
    (r"[?=\s]+$", ""),
)
_COMPILED = tuple((re.compile(pattern), replacement) for pattern, replacement in _WORDS)


def plain_expression(text: str) -> str:
    """The expression in digits, operators and names.

    Raises:
        ToolArgumentError: a run of Chinese numerals is no number.
    """
    text = _SUPERSCRIPT.sub(lambda found: f"^({found[0].translate(_SUPERSCRIPTS)})", text)
    text = _VULGAR.sub(_mixed_number, text)
    # Compatibility forms (full-width digits, ℃, ㎏) come apart only now: ² would have become an ordinary 2.
    text = unicodedata.normalize("NFKC", text.translate(_SIGNS)).translate(_SIGNS)
    text = _UNIT.sub(lambda found: f" {_UNITS[found[0]]} ", text)
    for pattern, replacement in _COMPILED:
        text = pattern.sub(replacement, text)
    return with_plain_numbers(text).strip()


def _mixed_number(found: re.Match[str]) -> str:
    """3½ is three and a half, not three halves."""
    fraction = unicodedata.normalize("NFKC", found[2]).replace("⁄", "/")
    return f"({found[1]}+{fraction})" if found[1] else f"({fraction})"
