"""The calculator is exact where it can be, reads what people write, and is bounded whatever it is given."""

import asyncio
import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.errors import MissingDependencyError, ToolArgumentError
from moesaic.tools import ToolContext
from moesaic.tools.builtin import units
from moesaic.tools.builtin.calculator import Calculator, CalculatorArguments
from moesaic.tools.builtin.chinese_numerals import chinese_number
from moesaic.tools.builtin.expression import evaluate
from moesaic.tools.builtin.expression_text import plain_expression

HERE = ToolContext.here()

ANSWERS = {
    "(3 + 4) * 5": "35",
    "0.1 + 0.2": "0.3",
    "1/3 + 1/6": "0.5",
    "1/3": "1/3 ≈ 0.333333333333",
    "-1/8": "-0.125",
    "2 ^ 10": "1024",
    "2 ** -3": "0.125",
    "-2 ^ 2": "-4",
    "2 ^ 3 ^ 2": "512",
    "8 ^ (1/3)": "2",
    "0 ^ 0": "1",
    "(-1) ^ 1000001": "-1",
    "sqrt(2)": "≈ 1.41421356237",
    "√16": "4",
    "5!": "120",
    "comb(5, 2) + perm(5, 2)": "30",
    "log(8, 2)": "3",
    "log10(1000)": "3",
    "round(2.5)": "3",
    "round(-2.675, 2)": "-2.68",
    "max(1,200)": "200",
    "mean(1, 2, 4)": "7/3 ≈ 2.33333333333",
    "7 mod 4": "3",
    "-7 // 2": "-4",
    "10 % 3": "1",
    "15% of 80": "12",
    "50% * 3": "1.5",
    "200 + 10%": "200.1",
    "5% - 3%": "0.02",
    "1,234,567 + 1": "1234568",
    "5²": "25",
    "3½": "3.5",
    "2*3½": "7",
    "½ + ¼": "0.75",
    "6 × 7 ÷ 2 − 1": "20",
    "2π": "≈ 6.28318530718",
    "1.5e3": "1500",
    "1e-3000 * 1e3000": "1",
    "What is 7 times 8?": "56",
    "100 divided by 8 =": "12.5",
    "15 percent of 200": "30",
    "3 km + 200 m": "3.2 km",
    "5 miles to km": "8.04672 km",
    "100 km / 2 h": "50 km/h",
    "100 km / 2 h to m/s": "125/9 ≈ 13.8888888889 m/s",
    "5 in to cm": "12.7 cm",
    "12.7 cm in in": "5 in",
    "60 mph in km/h": "96.56064 km/h",
    "9.81 m/s^2 * 2 s": "19.62 m/s",
    "5 m^2 * 3 m": "15 m^3",
    "20 °C to °F": "68 °F",
    "100℃ to kelvin": "373.15 K",
    "10 km / 5 m": "2000",
    "sin(30 degree)": "≈ 0.5",
    "180 degree to radian": "≈ 3.14159265359 rad",
    "4 W * 3 h to kWh": "0.012 kWh",
    "三千五百": "3500",
    "１２３": "123",
    "（１２３＋４５６）×２": "1158",
    "三千五百加上百分之二十": "3500.2",
    "八十的百分之十五": "12",
    "三百乘以百分之三十": "90",
    "一百除以八等于多少？": "12.5",
    "负五加三": "-2",
    "十六的平方根": "4",
    "根号9": "3",
    "二的十次方": "1024",
    "计算 3的平方": "9",
    "5公里等于多少米": "5000 m",
    "100摄氏度换算成华氏度": "212 °F",
    "三千米": "3 km",
    "100公里除以2小时": "50 km/h",
    "两斤等于多少克": "1000 g",
    "3亩是多少平方米": "2000 m^2",
    "半小时换成分钟": "30 min",
}


@pytest.mark.parametrize(("expression", "answer"), ANSWERS.items(), ids=list(ANSWERS))
async def test_answers(expression: str, answer: str) -> None:
    result = await Calculator().call(CalculatorArguments(expression=expression), HERE)
    assert result.content == answer
    assert result.artifact["exact"] is ("≈" not in answer or "/" in answer.split("≈")[0])


REFUSALS = {
    "": "is empty",
    "3 +": "ends where a number was expected",
    "(1": r"'\)' was expected, and the end is there",
    "2 3": "'3' was not expected",
    "1,5": "',' was not expected",
    "1.2.3": "not understood",
    "1 / 0": "division by zero",
    "1 mod 0": "division by zero",
    "0 ^ -1": "division by zero",
    "2 ^ 100000": "more than 14000 bits",
    "9 ^ 9 ^ 9": "more than 14000 bits",
    "1000000 ^ 1000": "more than 14000 bits",
    "2 ^ (1 / 0.0000001) ^ 9": "bits|beyond",
    "factorial(2000)": "0 to 1500",
    "5!!!": "0 to 1500",
    "comb(10 ^ 9, 3)": "0 to 10000",
    "perm(10000, 9000)": "bits",
    "1e99999": "too long",
    "exp(1000)": "beyond",
    "sqrt(-1)": "negative number",
    "(-8) ^ (1/3)": "negative number",
    "log(0, 10)": "above 0",
    "asin(2)": "not defined",
    "round(1, 1000)": "-100 to 100",
    "gcd(1.5, 2)": "whole numbers",
    "sqrt(1, 2)": r"'\)' was expected",
    "log(8)": "takes 2 to 2 arguments",
    "sin": "is a function",
    "foo(1)": "no function 'foo'",
    "5 kg + 3": "units do not fit",
    "5 kg + 3 m": "units do not fit",
    "5 kg to 3 m": "must be a unit",
    "5 kg to 3": "must be a unit",
    "2 ^ (3 m)": "plain number",
    "sqrt(4 m)": "plain number",
    "(3 m) ^ 99": "powers up to 12",
    "(3 m) ^ 0.5": "whole powers",
    "20 °C + 5 °C": "temperatures",
    "3 zorkmids": "neither a function, a constant nor a unit",
    "__import__('os').system('id')": "not understood",
    "().__class__": "not understood",
    "lambda: 1": "neither a function|not understood",
    "[x for x in y]": "not understood",
    "'a' * 9": "not understood",
    "a = 3": "not understood",
    "(" * 60 + "1" + ")" * 60: "50 levels",
    "-" * 60 + "1": "50 levels",
    "1" + "+1" * 499: "more than 500 signs",
    "三四百": "is no number",
    "三点点五": "is no number",
}


@pytest.mark.parametrize(("expression", "said"), REFUSALS.items(), ids=[str(n) for n in range(len(REFUSALS))])
def test_refusals(expression: str, said: str) -> None:
    with pytest.raises(ToolArgumentError, match=said):
        evaluate(plain_expression(expression))


NUMERALS = {
    "零": 0,
    "十": 10,
    "十五": 15,
    "二十": 20,
    "两百": 200,
    "一百零五": 105,
    "一百一十": 110,
    "三千零五": 3005,
    "三千五": 3500,
    "一万五": 15000,
    "两万零三十": 20030,
    "一百零五万": 1_050_000,
    "一亿二千万": 120_000_000,
    "一百二十亿零五": 12_000_000_005,
    "二〇二四": 2024,
    "3万5千": 35_000,
    "1.5亿": 150_000_000,
    "三点五亿": 350_000_000,
    "三点一四": Fraction(157, 50),
    "壹仟贰佰": 1200,
}


@pytest.mark.parametrize(("text", "value"), NUMERALS.items(), ids=list(NUMERALS))
def test_chinese_numerals(text: str, value: int) -> None:
    assert chinese_number(text) == value


def in_chinese(number: int) -> str:
    """A whole number below 10^12 as it is written, by the rules of school books."""
    if number == 0:
        return "零"
    text, pending = "", False
    for unit, name in ((10**8, "亿"), (10**4, "万"), (1, "")):
        part, number = divmod(number, unit)
        if part:
            text += ("零" if text and (part < 1000 or pending) else "") + _section(part) + name
        pending = bool(text) and not part
    return text


def _section(number: int) -> str:
    text, zero = "", False
    for unit, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, number = divmod(number, unit)
        if digit:
            text += ("零" if zero and text else "") + "零一二三四五六七八九"[digit] + name
        zero = digit == 0
    return text


@given(st.integers(0, 10**12 - 1))
def test_every_chinese_number_reads_back(number: int) -> None:
    assert chinese_number(in_chinese(number)) == number


@given(st.fractions(), st.fractions(), st.sampled_from("+-*/"))
def test_fractions_are_exact(a: Fraction, b: Fraction, operator: str) -> None:
    expression = f"({a}) {operator} ({b})"
    if operator == "/" and b == 0:
        with pytest.raises(ToolArgumentError, match="division by zero"):
            evaluate(expression)
        return
    expected = {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else None}[operator]
    assert evaluate(expression) == expected


@given(st.text(alphabet="0123456789.+-*/^%!(),eEπ√ kmgs三千万点分之", max_size=40))
def test_anything_is_answered_or_refused(text: str) -> None:
    try:
        value = evaluate(plain_expression(text))
    except ToolArgumentError:
        return
    assert units.is_quantity(value) or isinstance(value, Fraction | float)


def test_nothing_takes_long() -> None:
    """Shows that limits come before work: without them each of these would take hours, or all memory."""
    began = time.monotonic()
    for expression in (
        "9^9^9^9",
        "10^(10^9)",
        "factorial(10^8)",
        "comb(10^12, 10^6)",
        "1e999999999",
        "2^14000*2^14000",
    ):
        with pytest.raises(ToolArgumentError):
            evaluate(expression)
    assert time.monotonic() - began < 60


def test_units_name_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", missing)
    units._pint.cache_clear()
    units._registry.cache_clear()
    with pytest.raises(MissingDependencyError, match=r"moesaic\[tools\]"):
        evaluate("3 km")
    assert evaluate("3 + 4") == 7


def test_it_is_its_own_words() -> None:
    result = asyncio.run(Calculator().call(CalculatorArguments(expression="1/3"), HERE))
    assert result.artifact == {"value": "1/3", "exact": True, "unit": ""}
