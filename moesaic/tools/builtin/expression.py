"""The value of an expression: a parser of our own, with limits; nothing of it is ever executed as a program.

    conversion  = sum [("to" | "in") sum]
    sum         = product (("+" | "-") product)*
    product     = signed (("*" | "/" | "//" | "mod" | "of") signed)*
    signed      = ("-" | "+") signed | power
    power       = postfix ["^" signed]
    postfix     = attached ("%" | "!")*
    attached    = primary (unit ["^" integer])*          5 km, 2 pi, 9.81 m/s^2
    primary     = number | name | name "(" conversion ("," conversion)* ")" | "(" conversion ")" | "√" postfix

- Numbers are exact: 0.1 is a tenth. "%" after a number is a hundredth, before an operand the remainder.
- A unit belongs to the number before it: 100 km / 2 h is 50 km/h.
"""

import re
from collections.abc import Callable
from fractions import Fraction
from operator import add, mul, sub, truediv
from typing import Any, NamedTuple

from moesaic.errors import ToolArgumentError
from moesaic.tools.builtin import units
from moesaic.tools.builtin.exact_numbers import CONSTANTS, FUNCTIONS, MAX_BITS, checked, power

__all__ = ["evaluate"]

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)(?![\d.])|(?P<name>[^\W\d]\w*)"
    r"|(?P<sign>//|[-+*/^%!(),√]))"
)
_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_MAX_DEPTH = 50
_MAX_TOKENS = 500
_MAX_DIGITS = 1000
_MAX_UNIT_POWER = 12
_CONVERSIONS = ("to", "in", "as")
_END = ""


class _Token(NamedTuple):
    kind: str
    text: str


def evaluate(text: str) -> Any:
    """The value of an expression: a `Fraction`, a float, or a pint quantity of one of them.

    Raises:
        ToolArgumentError: it is no expression, has no value, or is too large.
        MissingDependencyError: it has units, and their package is not installed.
    """
    parser = _Parser(_tokens(text))
    value = parser.conversion()
    if parser.kind != "end":
        raise _refused(f"{parser.text!r:.40} was not expected there; write one expression, such as (3 + 4) * 5")
    return value


def _tokens(text: str) -> list[_Token]:
    if "(" not in text or not re.search(r"[^\W\d]\w*\s*\(", text):
        text = _GROUPED.sub(lambda found: found[0].replace(",", ""), text)  # where no comma parts arguments
    found, place = [], 0
    text = text.rstrip()
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None or token.lastgroup is None:
            raise _refused(
                f"{text[place : place + 20].strip()!r} is not understood; use numbers, + - * / ^ % and units"
            )
        found.append(_Token(token.lastgroup, token[token.lastgroup]))
        place = token.end()
        if len(found) > _MAX_TOKENS:
            raise _refused(f"more than {_MAX_TOKENS} signs; divide the work into several expressions")
    if not found:
        raise _refused("the expression is empty; give one, such as 3 * 4")
    return found


class _Parser:
    """Reads tokens from left to right, computing as it goes."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = [*tokens, _Token("end", _END)]
        self._place = 0
        self._depth = 0

    @property
    def kind(self) -> str:
        return self._tokens[self._place].kind

    @property
    def text(self) -> str:
        return self._tokens[self._place].text

    @property
    def _next(self) -> _Token:
        return self._tokens[min(self._place + 1, len(self._tokens) - 1)]

    def conversion(self) -> Any:
        value = self._nested(self._sum)
        if self.kind == "name" and self.text in _CONVERSIONS:
            self._place += 1
            value = units.converted(value, self._nested(self._sum))
        return value

    def _sum(self) -> Any:
        value = self._product()
        while self.text in ("+", "-"):
            sign = self._taken()
            other = self._product()
            value = _computed(value, other, add if sign == "+" else sub)
        return value

    def _product(self) -> Any:
        value = self._signed()
        while self.text in ("*", "/", "//", "%", "mod", "of"):
            sign = self._taken()
            other = self._signed()
            if sign in ("*", "of"):
                value = _computed(value, other, mul)
                continue
            if not units.is_quantity(other) and other == 0:
                raise _refused("division by zero")
            if sign == "/":
                value = _computed(value, other, truediv)
            else:
                a, b = units.without_unit(value), units.without_unit(other)
                value = checked(Fraction(a // b) if sign == "//" else a % b)
        return value

    def _signed(self) -> Any:
        if self.text in ("-", "+"):
            sign = self._taken()
            value = self._nested(self._signed)
            return -value if sign == "-" else value
        return self._power()

    def _power(self) -> Any:
        base = self._postfix()
        if self.text != "^":
            return base
        self._place += 1
        exponent = units.without_unit(self._nested(self._signed))
        if not units.is_quantity(base):
            return power(base, exponent)
        return _unit_power(base, exponent)

    def _postfix(self) -> Any:
        value = self._attached()
        while self.text == "!" or (self.text == "%" and not self._begins_operand(self._next)):
            if self._taken() == "%":
                value = _computed(value, Fraction(100), truediv)
            else:
                value = FUNCTIONS["factorial"][2](units.without_unit(value))
        return value

    def _attached(self) -> Any:
        value = self._primary()
        while self._attaches(value):
            factor = self._named(self._taken())
            if self.text == "^" and self._next.kind == "number":
                self._place += 1
                factor = _unit_power(factor, _number(self._taken()))
            value = units.attached(value, factor) if units.is_quantity(factor) else _computed(value, factor, mul)
        return value

    def _attaches(self, value: Any) -> bool:
        """Whether a name follows `value` that is a unit or a constant, not an operator or a function."""
        if self.kind != "name" or self.text in ("mod", "of", "to", "as"):
            return False
        if self.text == "in":  # inches, or "in kilometres"
            if units.is_quantity(value):
                return False
            return self._next.kind == "end" or self._next.text in _CONVERSIONS or self._next.kind == "sign"
        return self._next.text != "(" or self.text not in FUNCTIONS

    def _primary(self) -> Any:
        token = self._tokens[self._place]
        if token.kind == "number":
            self._place += 1
            return _number(token.text)
        if token.kind == "name":
            self._place += 1
            return self._function(token.text) if self.text == "(" else self._named(token.text)
        if token.text == "(":
            self._place += 1
            value = self.conversion()
            self._expect(")")
            return value
        if token.text == "√":
            self._place += 1
            return FUNCTIONS["sqrt"][2](units.without_unit(self._nested(self._postfix)))
        if token.kind == "end":
            raise _refused("it ends where a number was expected; write the whole expression")
        raise _refused(f"{token.text!r:.40} stands where a number was expected")

    def _named(self, name: str) -> Any:
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name in FUNCTIONS:
            raise _refused(f"{name} is a function: write its arguments in parentheses")
        return units.quantity(name)

    def _function(self, name: str) -> Any:
        if name not in FUNCTIONS:
            known = ", ".join(FUNCTIONS)
            raise _refused(f"there is no function {name!r:.40}; there are {known}")
        least, most, function = FUNCTIONS[name]
        self._place += 1
        arguments = [units.without_unit(self.conversion())]
        while self.text == "," and len(arguments) < most:
            self._place += 1
            arguments.append(units.without_unit(self.conversion()))
        self._expect(")")
        if len(arguments) < least:
            raise _refused(f"{name} takes {least} to {most} arguments, not {len(arguments)}")
        return checked(function(*arguments))

    def _begins_operand(self, token: _Token) -> bool:
        if token.kind == "name":
            return token.text not in ("of", "mod", *_CONVERSIONS)
        return token.kind == "number" or token.text in ("(", "√")

    def _taken(self) -> str:
        self._place += 1
        return self._tokens[self._place - 1].text

    def _expect(self, sign: str) -> None:
        if self.text != sign:
            found = repr(self.text[:40]) if self.text else "the end"
            raise _refused(f"{sign!r} was expected, and {found} is there")
        self._place += 1

    def _nested(self, read: Callable[[], Any]) -> Any:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _refused(f"nested more than {_MAX_DEPTH} levels deep; divide the work into several expressions")
        value = read()
        self._depth -= 1
        return value


def _number(text: str) -> Fraction:
    digits, _, exponent = text.lower().partition("e")
    if len(digits) > _MAX_DIGITS or len(exponent) > 6 or abs(int(exponent or "0")) * 4 > MAX_BITS:
        raise _refused(f"the number {text[:20]}… is too long; at most {_MAX_DIGITS} digits, exponents to ±3500")
    return Fraction(digits.rstrip(".") if digits[0] != "." else f"0{digits}") * Fraction(10) ** int(exponent or "0")


def _computed(a: Any, b: Any, operator: Callable[[Any, Any], Any]) -> Any:
    if units.is_quantity(a) or units.is_quantity(b):
        return units.with_units(lambda: operator(a, b))
    try:
        return checked(operator(a, b))
    except OverflowError as error:
        raise _refused("the result is beyond what can be computed (about 1.8e308)") from error


def _unit_power(base: Any, exponent: Any) -> Any:
    if not units.is_quantity(base):
        return power(base, exponent)
    if abs(exponent) > _MAX_UNIT_POWER or exponent.denominator != 1:
        raise _refused(f"a unit can be raised to whole powers up to {_MAX_UNIT_POWER}")
    return units.with_units(lambda: base ** int(exponent))


def _refused(message: str) -> ToolArgumentError:
    return ToolArgumentError("expression", message)
