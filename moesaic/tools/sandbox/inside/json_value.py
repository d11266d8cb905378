"""A program's value as JSON, by the table that docs/sandbox.md states.

| value | becomes |
|---|---|
| None, bool, int, str, finite float | itself |
| nan, infinities | the text "nan", "inf", "-inf" |
| list, tuple, range, other sequences of numpy | a list |
| set, frozenset | a list, sorted if it can be |
| dict | an object; keys that are no text become their `str` |
| Fraction, sympy.Rational | an int if whole, else the text "3/4" |
| Decimal, complex, date, time, timedelta, UUID, Enum members, and what else sympy makes | its `str` |
| numpy and sympy numbers and booleans | the number or boolean |
| anything else | its `repr` |

Everything here may run code of the program (`__repr__`, `__iter__`); time and memory are limited from outside.
"""

import math
import sys

__all__ = ["TOO_LARGE", "to_json_value"]

_MAX_DEPTH = 32
_PLAIN_BITS = 2048
_TEXT_TYPES = frozenset(
    {"decimal.Decimal", "datetime.date", "datetime.datetime", "datetime.time", "datetime.timedelta", "uuid.UUID"}
)

TOO_LARGE = "the value is larger than may be returned"
"""Text of the `OverflowError` that says so."""


def to_json_value(value: object, most_bytes: int) -> object:
    """`value` made of what JSON knows.

    Raises:
        OverflowError: `TOO_LARGE`, where it cannot fit into `most_bytes`.
        Exception: whatever the value's own methods raise.
    """
    return _Converter(most_bytes).convert(value, _MAX_DEPTH)


class _Converter:
    def __init__(self, most_bytes: int) -> None:
        self._left = most_bytes

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise OverflowError(TOO_LARGE)

    def _text(self, text: str) -> str:
        self._spend(len(text))
        return text.encode("utf-8", "replace").decode()

    def convert(self, value: object, depth: int) -> object:
        self._spend(1)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(str.__str__(value))
        if type(value) is int:
            self._spend(value.bit_length() // 4)
            return value if value.bit_length() < _PLAIN_BITS else int(str(value))  # Python's own limit on digits
        if type(value) is float:
            return value if math.isfinite(value) else str(value)
        if depth == 0:
            return self._text(repr(value))
        if isinstance(value, dict):
            return {
                self._text(key if isinstance(key, str) else str(key)): self.convert(item, depth - 1)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple | range):
            return [self.convert(item, depth - 1) for item in value]
        if isinstance(value, set | frozenset):
            return [self.convert(item, depth - 1) for item in _sorted(value)]
        return self._other(value, depth)

    def _other(self, value: object, depth: int) -> object:
        kinds = type(value).__mro__
        names = {f"{kind.__module__}.{kind.__qualname__}" for kind in kinds}
        if "fractions.Fraction" in names:
            return int(value) if value.denominator == 1 else self._text(str(value))  # type: ignore[attr-defined, call-overload]
        if names & _TEXT_TYPES or isinstance(value, complex):
            return self._text(str(value))
        if isinstance(value, int | float):  # a subclass, such as an IntEnum or numpy.float64
            plain = int(value) if isinstance(value, int) else float(value)
            return self._text(str(value)) if "enum.Enum" in names else self.convert(plain, depth)
        packages = {kind.__module__.partition(".")[0] for kind in kinds}
        if "numpy" in packages and "numpy" in sys.modules:
            return self._of_numpy(value, depth)
        if "sympy" in packages and "sympy" in sys.modules:
            return self._of_sympy(value, depth)
        return self._text(str(value) if "enum.Enum" in names else repr(value))

    def _of_numpy(self, value: object, depth: int) -> object:
        plain = value.tolist() if hasattr(value, "tolist") else repr(value)
        return self._text(repr(value)) if type(plain) is type(value) else self.convert(plain, depth - 1)

    def _of_sympy(self, value: object, depth: int) -> object:
        if getattr(value, "is_Boolean", False) and str(value) in ("True", "False"):
            return bool(value)
        if getattr(value, "is_Integer", False):
            return self.convert(int(value), depth)  # type: ignore[call-overload]
        if getattr(value, "is_Float", False):
            return self.convert(float(value), depth)  # type: ignore[arg-type]
        return self._text(str(value))


def _sorted(values: set[object] | frozenset[object]) -> list[object]:
    try:
        return sorted(values)  # type: ignore[type-var]
    except TypeError:  # of kinds that do not compare
        return list(values)
