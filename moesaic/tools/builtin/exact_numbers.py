"""Arithmetic with limits: fractions stay exact, roots and logarithms are floats, and nothing grows without bound.

A number is a `Fraction` (exact) or a float (approximate). Integers and the parts of fractions have at most `MAX_BITS`
bits, about 4200 digits; what would exceed it is refused before it is computed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

from moesaic.errors import ToolArgumentError

__all__ = ["CONSTANTS", "FUNCTIONS", "MAX_BITS", "Number", "checked", "power", "written"]

Number = Fraction | float

MAX_BITS = 14_000
"""Most bits of an integer."""

CONSTANTS: Mapping[str, float] = {"pi": math.pi, "e": math.e, "tau": math.tau}
"""Names that are numbers."""

_MAX_FACTORIAL = 1500
_MAX_CHOICES = 10_000
_MAX_ROOT = 12


def checked(value: Number) -> Number:
    """The value.

    Raises:
        ToolArgumentError: it is too large, or not a real number.
    """
    if isinstance(value, complex):
        raise _refused("the result is not a real number")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _refused("the result is beyond what can be computed (about 1.8e308)")
        return value
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise _refused(f"a number has more than {MAX_BITS} bits; compute with smaller ones")
    return value


def power(base: Number, exponent: Number) -> Number:
    """`base` to the power of `exponent`; exact where it is rational and small enough."""
    if base == 0 and exponent < 0:
        raise _refused("division by zero: 0 to a negative power")
    if isinstance(base, Fraction) and isinstance(exponent, Fraction):
        if exponent.denominator == 1:
            bits = max(base.numerator.bit_length(), base.denominator.bit_length())
            if abs(base) not in (0, 1) and bits * abs(exponent) > 2 * MAX_BITS:
                raise _refused(f"the power would have more than {MAX_BITS} bits; compute with smaller numbers")
            return checked(base ** int(exponent) if abs(base) not in (0, 1) else _unit_power(base, exponent))
        root = _exact_root(base, exponent.denominator)
        if root is not None:
            return power(root, Fraction(exponent.numerator))
    if base < 0:
        raise _refused("a negative number has no such power among the real numbers")
    return _float(math.pow, base, exponent)


def written(value: Number) -> str:
    """The number as text: exact where that is short, and with ≈ where it is rounded."""
    if isinstance(value, float):
        return f"≈ {value:.12g}"
    if value.denominator == 1:
        return str(value.numerator)
    places = _decimal_places(value.denominator)
    if places is not None and places <= 30:
        scaled = abs(value.numerator) * 10**places // value.denominator
        digits = str(scaled).rjust(places + 1, "0")
        return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"
    rounded = f"≈ {_approximately(value)}"
    exact = f"{value.numerator}/{value.denominator}"
    return f"{exact} {rounded}" if len(exact) <= 60 else rounded


def _approximately(value: Fraction) -> str:
    try:
        return f"{float(value):.12g}"
    except OverflowError:
        digits = str(abs(value.numerator) // value.denominator)
        return f"{'-' if value < 0 else ''}{digits[0]}.{digits[1:13]}e+{len(digits) - 1}"


def _decimal_places(denominator: int) -> int | None:
    """Places after the point that the fraction needs; None if no number of them suffices."""
    places = 0
    for prime in (2, 5):
        count = 0
        while denominator % prime == 0:
            denominator //= prime
            count += 1
        places = max(places, count)
    return places if denominator == 1 else None


def _unit_power(base: Fraction, exponent: Fraction) -> Fraction:
    """A power of -1, 0 or 1, whose exponent may be of any size."""
    if base == 0:
        return Fraction(1 if exponent == 0 else 0)
    return base if exponent % 2 else Fraction(1)


def _exact_root(value: Fraction, degree: int) -> Fraction | None:
    """The rational root, if there is one."""
    if value < 0 or degree > _MAX_ROOT:
        return None
    parts = [_integer_root(part, degree) for part in (value.numerator, value.denominator)]
    return None if None in parts else Fraction(parts[0] or 0, parts[1] or 1)


def _integer_root(value: int, degree: int) -> int | None:
    if degree == 2:
        root = math.isqrt(value)
    elif value.bit_length() > 900:
        return None
    else:
        root = round(value ** (1 / degree))
    return next((near for near in (root - 1, root, root + 1) if near >= 0 and near**degree == value), None)


def _float(function: Callable[..., float], *values: Number) -> float:
    try:
        return float(checked(function(*(float(value) for value in values))))
    except OverflowError as error:
        raise _refused("the result is beyond what can be computed (about 1.8e308)") from error
    except ValueError as error:
        shown = ", ".join(written(value) for value in values)
        raise _refused(f"{function.__name__}({shown}) is not defined") from error


def _integer(value: Number, what: str, most: int) -> int:
    if not isinstance(value, Fraction) or value.denominator != 1 or not 0 <= value <= most:
        raise _refused(f"{what} takes whole numbers from 0 to {most}, not {written(value)}")
    return int(value)


def _whole(value: Number, what: str) -> int:
    if not isinstance(value, Fraction) or value.denominator != 1:
        raise _refused(f"{what} takes whole numbers, not {written(value)}")
    return int(value)


def _rounded(value: Number, places: Number = Fraction(0)) -> Number:
    """Half goes away from zero, as people round; not to the even neighbour, as Python does."""
    count = _whole(places, "round")
    if abs(count) > 100:
        raise _refused(f"round takes -100 to 100 places, not {count}")
    scaled = abs(Fraction(value)) * Fraction(10) ** count
    rounded = Fraction(math.floor(scaled + Fraction(1, 2))) / Fraction(10) ** count
    return rounded if value >= 0 else -rounded


def _logarithm(value: Number, base: Number) -> Number:
    if value <= 0 or base <= 0 or base == 1:
        raise _refused("a logarithm needs numbers above 0, and a base other than 1")
    if isinstance(value, Fraction) and isinstance(base, Fraction):
        guess = Fraction(round(_natural(value) / _natural(base)))
        if abs(guess) <= MAX_BITS and power(base, guess) == value:
            return guess
    return _natural(value) / _natural(base)


def _natural(value: Number) -> float:
    """Natural logarithm, of fractions beyond floats too."""
    if isinstance(value, Fraction):
        return math.log(value.numerator) - math.log(value.denominator) if value > 0 else _float(math.log, value)
    return _float(math.log, value)


def _permutations(n: Number, k: Number) -> Fraction:
    total, chosen = _integer(n, "perm", _MAX_CHOICES), _integer(k, "perm", _MAX_CHOICES)
    if chosen * total.bit_length() > 2 * MAX_BITS:
        raise _refused(f"perm({total}, {chosen}) has more than {MAX_BITS} bits; compute with smaller numbers")
    return Fraction(math.perm(total, chosen))


FUNCTIONS: Mapping[str, tuple[int, int, Callable[..., Number]]] = {
    "abs": (1, 1, abs),
    "acos": (1, 1, lambda x: _float(math.acos, x)),
    "asin": (1, 1, lambda x: _float(math.asin, x)),
    "atan": (1, 1, lambda x: _float(math.atan, x)),
    "cbrt": (1, 1, lambda x: power(x, Fraction(1, 3)) if x >= 0 else -power(-x, Fraction(1, 3))),
    "ceil": (1, 1, lambda x: Fraction(math.ceil(x))),
    "comb": (
        2,
        2,
        lambda n, k: Fraction(math.comb(_integer(n, "comb", _MAX_CHOICES), _integer(k, "comb", _MAX_CHOICES))),
    ),
    "cos": (1, 1, lambda x: _float(math.cos, x)),
    "exp": (1, 1, lambda x: _float(math.exp, x)),
    "factorial": (1, 1, lambda n: Fraction(math.factorial(_integer(n, "factorial", _MAX_FACTORIAL)))),
    "floor": (1, 1, lambda x: Fraction(math.floor(x))),
    "gcd": (1, 20, lambda *n: Fraction(math.gcd(*(_whole(each, "gcd") for each in n)))),
    "lcm": (1, 20, lambda *n: Fraction(math.lcm(*(_whole(each, "lcm") for each in n)))),
    "ln": (1, 1, lambda x: _logarithm(x, math.e)),
    "log": (2, 2, _logarithm),
    "log10": (1, 1, lambda x: _logarithm(x, Fraction(10))),
    "log2": (1, 1, lambda x: _logarithm(x, Fraction(2))),
    "max": (1, 100, lambda *x: max(x)),
    "mean": (1, 100, lambda *x: _sum(x) / len(x)),
    "min": (1, 100, lambda *x: min(x)),
    "perm": (2, 2, _permutations),
    "round": (1, 2, _rounded),
    "sin": (1, 1, lambda x: _float(math.sin, x)),
    "sqrt": (1, 1, lambda x: power(x, Fraction(1, 2))),
    "sum": (1, 100, lambda *x: _sum(x)),
    "tan": (1, 1, lambda x: _float(math.tan, x)),
}
"""Functions by name: least and most arguments, and what computes them. Angles are in radians."""


def _sum(values: Sequence[Number]) -> Number:
    total: Number = Fraction(0)
    for value in values:
        total = checked(total + value)
    return total


def _refused(message: str) -> ToolArgumentError:
    return ToolArgumentError("expression", message)
