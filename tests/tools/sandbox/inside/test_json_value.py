"""Values of programs as JSON, by the table of the module."""

import datetime
import decimal
import enum
import fractions
import json
import uuid
from typing import Any

import numpy
import pytest
import sympy  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from moesaic.tools.sandbox.inside.json_value import TOO_LARGE, to_json_value

Color = enum.Enum("Color", "RED")
Size = enum.IntEnum("Size", "SMALL")


class Odd:
    def __repr__(self) -> str:
        return "Odd()"


def cycle() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


TABLE: list[tuple[Any, Any]] = [
    (None, None), (True, True), (3, 3), (2**100, 2**100), (1.5, 1.5), ("数", "数"), ("\ud800", "?"),
    (float("nan"), "nan"), (float("inf"), "inf"), (-float("inf"), "-inf"),
    ((1, [2]), [1, [2]]), (range(3), [0, 1, 2]), ({3, 1, 2}, [1, 2, 3]), (frozenset({"b", "a"}), ["a", "b"]),
    ({1: 2, None: (3,), "a": {}}, {"1": 2, "None": [3], "a": {}}),
    (fractions.Fraction(3, 4), "3/4"), (fractions.Fraction(8, 4), 2), (decimal.Decimal("3.10"), "3.10"),
    (1 + 2j, "(1+2j)"), (datetime.date(2024, 2, 29), "2024-02-29"), (datetime.timedelta(days=1), "1 day, 0:00:00"),
    (datetime.datetime(2024, 2, 29, 10), "2024-02-29 10:00:00"), (uuid.UUID(int=1), str(uuid.UUID(int=1))),
    (Color.RED, "Color.RED"), (Size.SMALL, "1"), (b"x", "b'x'"), (Odd(), "Odd()"), (len, "<built-in function len>"),
    (numpy.int64(3), 3), (numpy.float64(0.5), 0.5), (numpy.float32(0.5), 0.5), (numpy.bool_(True), True),
    (numpy.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]), (numpy.array([0.5, numpy.nan]), [0.5, "nan"]),
    (numpy.datetime64("2024-02-29"), "2024-02-29"), ({numpy.int64(1): numpy.str_("a")}, {"1": "a"}),
    (sympy.Integer(3), 3), (sympy.Rational(3, 4), "3/4"), (sympy.Float("0.5"), 0.5), (sympy.true, True),
    (sympy.sqrt(8), "2*sqrt(2)"), (sympy.oo, "oo"), ([sympy.Symbol("x")], ["x"]), (sympy.Matrix([1]), "Matrix([[1]])"),
]  # fmt: skip


# Numbers for names: the text of a set differs between the workers of a test run.
@pytest.mark.parametrize(("value", "wanted"), TABLE, ids=map(str, range(len(TABLE))))
def test_each_kind_has_its_form(value: Any, wanted: Any) -> None:
    found = to_json_value(value, 1000)
    assert found == wanted
    assert type(found) is type(wanted)
    json.dumps(found, allow_nan=False)


def test_depth_ends_in_a_text() -> None:
    assert "[...]" in json.dumps(to_json_value(cycle(), 10_000))
    deep: list[Any] = []
    for _ in range(60):
        deep = [deep]
    json.dumps(to_json_value(deep, 10_000))


@pytest.mark.parametrize("value", ["x" * 101, list(range(101)), {str(n): n for n in range(60)}, 2**2000, b"x" * 200])
def test_what_is_too_large_is_refused(value: Any) -> None:
    with pytest.raises(OverflowError, match=TOO_LARGE):
        to_json_value(value, 100)


def test_numbers_that_python_does_not_print_are_refused_as_python_does() -> None:
    with pytest.raises(ValueError, match="digits"):
        to_json_value(10**5000, 100_000)


@given(st.recursive(st.integers() | st.floats() | st.text() | st.none() | st.dates(), st.lists, max_leaves=20))
def test_what_comes_out_is_json(value: Any) -> None:
    json.dumps(to_json_value(value, 10_000), allow_nan=False).encode()
