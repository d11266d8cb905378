"""Records: types, ranges and keys, from a caller and from JSON."""

import json
import math
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass
from enum import StrEnum
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.artifact.record import Option, Record
from moesaic.errors import ForeignArtifactError, InputError


@dataclass(frozen=True, kw_only=True)
class Inner(Record):
    count: int

    RANGES: ClassVar = {"count": (0, 10)}


@dataclass(frozen=True, kw_only=True)
class Outer(Record):
    title: str
    ratio: float
    inner: Inner
    maybe: int | None = None
    rows: tuple[tuple[int, ...], ...] = ()
    measures: Mapping[str, float] | None = None
    options: Mapping[str, Option] | None = None


SOUND: Mapping[str, Any] = {"title": "t", "ratio": 1, "inner": Inner(count=3)}

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
options = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=6)
outers = st.builds(
    Outer,
    title=texts,
    ratio=st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60),
    inner=st.builds(Inner, count=st.integers(0, 10)),
    maybe=st.none() | st.integers(),
    rows=st.lists(st.lists(st.integers(), max_size=3), max_size=3),
    measures=st.none() | st.dictionaries(texts, st.floats(allow_nan=False, allow_infinity=False), max_size=3),
    options=st.none() | st.dictionaries(texts, options, max_size=3),
)


@given(outers)
def test_json_gives_the_same_record_back(record: Outer) -> None:
    again = Outer.from_json(json.loads(json.dumps(record.to_json(), allow_nan=False)))
    assert again == record
    assert json.dumps(again.to_json()) == json.dumps(record.to_json())  # 1 and 1.0 are equal, but not the same text


@given(outers, st.sampled_from(["title", "ratio", "inner", "maybe", "rows", "measures", "options"]))
def test_a_missing_key_is_refused(record: Outer, name: str) -> None:
    value = record.to_json()
    del value[name]
    with pytest.raises(ForeignArtifactError, match=name):
        Outer.from_json(value)


@given(outers, texts)
def test_an_unknown_key_is_refused(record: Outer, name: str) -> None:
    with pytest.raises(ForeignArtifactError, match="unknown keys"):
        Outer.from_json({**record.to_json(), name + "!": 1})

    with pytest.raises(ForeignArtifactError, match=r"Inner has the unknown keys \['x'\]"):
        Outer.from_json({**record.to_json(), "inner": {"count": 1, "x": 2}})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("title", 1),
        ("title", None),
        ("title", "\ud800"),
        ("ratio", "1"),
        ("ratio", True),
        ("ratio", math.nan),
        ("ratio", math.inf),
        ("ratio", 10**400),
        ("ratio", None),
        ("inner", 5),
        ("inner", None),
        ("inner", {"count": 11}),
        ("inner", {"count": -1}),
        ("inner", {"count": 1.0}),
        ("inner", {"count": True}),
        ("inner", {"count": "1"}),
        ("maybe", 1.5),
        ("rows", 3),
        ("rows", "12"),
        ("rows", [1]),
        ("rows", [[1.5]]),
        ("rows", {"a": 1}),
        ("measures", []),
        ("measures", {"a": "b"}),
        ("measures", {"a": math.nan}),
        ("measures", {1: 1.0}),
        ("options", {"a": {"nested": "object"}}),
        ("options", {"a": math.inf}),
        ("options", {"a": ["\udfff"]}),
        ("options", {"a": [[[[[[[[[1]]]]]]]]]}),
        ("options", {"a": object()}),
        ("options", {"a": b"bytes"}),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(name: str, value: object) -> None:
    with pytest.raises(InputError, match=f"Outer.{name}|Inner"):
        Outer(**{**SOUND, name: value})

    with pytest.raises(ForeignArtifactError, match=f"Outer.{name}|Inner"):
        Outer.from_json({**Outer(**SOUND).to_json(), name: value})


@pytest.mark.parametrize("value", [None, 1, "text", [], [("title", "t")]])
def test_something_other_than_an_object_is_refused(value: object) -> None:
    with pytest.raises(ForeignArtifactError, match="must be an object"):
        Outer.from_json(value)


def test_values_are_stored_in_one_form() -> None:
    class Scheme(StrEnum):
        INT8 = "int8"

    record = Outer(title=Scheme.INT8, ratio=2, inner=Inner(count=1), options={"experts": (0, (4,))})
    assert type(record.title) is str
    assert type(record.ratio) is float
    assert record.options == {"experts": [0, [4]]}


def test_a_record_keeps_its_own_copy_and_is_frozen() -> None:
    measures = {"a": 1.0}
    record = Outer(**SOUND, measures=measures)
    measures["a"] = 2.0
    assert record.measures == {"a": 1.0}
    with pytest.raises(FrozenInstanceError):
        record.title = "other"  # type: ignore[misc]


def test_a_long_offending_value_is_shortened() -> None:
    with pytest.raises(InputError) as caught:
        Outer(**{**SOUND, "ratio": "x" * 100_000})

    assert len(str(caught.value)) < 200
