"""Tables become dataclasses without a value bent or a key lost."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.errors import ConfigError, RecipeError
from moesaic.training.recipe_table import flattened, parsed_table, read_table, with_settings


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.5
    names: tuple[str, ...] = ()
    pair: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.rate > 1:
            raise ConfigError(f"rate={self.rate!r} must be at most 1")


@dataclass(frozen=True, kw_only=True)
class Outer:
    steps: int
    folder: Path | None = None
    kind: Literal["a", "b"] = "a"
    colour: Colour = Colour.RED
    quick: bool = False
    limits: dict[str, float] = field(default_factory=dict)
    inner: Inner = field(default_factory=Inner)
    more: Inner | None = None
    limit: float | None = 1.0
    wanted: bool | None = None


def test_every_type_arrives() -> None:
    table = {
        "steps": 3,
        "folder": "a/b",
        "kind": "b",
        "colour": "blue",
        "quick": True,
        "limits": {"x": 1},
        "inner": {"rate": 1, "names": ["n"], "pair": [0.5, 1]},
    }
    assert parsed_table(Outer, table) == Outer(
        steps=3,
        folder=Path("a/b"),
        kind="b",
        colour=Colour.BLUE,
        quick=True,
        limits={"x": 1.0},
        inner=Inner(rate=1.0, names=("n",), pair=(0.5, 1.0)),
    )


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"steps": 1, "stpes": 2}, r"stpes is no key of a recipe: did you mean steps\?"),
        ({"steps": 1, "inner": {"rat": 2}}, r"inner\.rat is no key of \[inner\]: did you mean inner\.rate\?"),
        ({"steps": 1, "zzz": 2}, "known are colour"),
        ({}, "steps is missing"),
        ({"steps": True}, "steps=True must be a whole number"),
        ({"steps": 1.5}, r"steps=1\.5 must be a whole number"),
        ({"steps": "1"}, "steps='1' must be a whole number"),
        ({"steps": 1, "kind": "c"}, "kind='c' is unknown: choose one of 'a', 'b'"),
        ({"steps": 1, "colour": "green"}, "colour='green' is unknown: choose one of 'red', 'blue'"),
        ({"steps": 1, "quick": 1}, "quick=1 must be true or false"),
        ({"steps": 1, "inner": {"rate": float("nan")}}, "inner.rate=nan must be a number"),
        ({"steps": 1, "inner": {"rate": 2}}, r"\[inner\] rate=2\.0 must be at most 1"),
        ({"steps": 1, "inner": {"names": 3}}, r"inner\.names=3 must be a list"),
        ({"steps": 1, "inner": {"pair": "n"}}, r"inner\.pair='n' must be a list"),
        ({"steps": 1, "inner": False}, "inner=False must be a table"),
        ({"steps": 1, "more": "yes"}, "more='yes' must be a table"),
        ({"steps": 1, "folder": True}, "folder=True must be a path"),
        ({"steps": 1, "inner": {"pair": [1.0]}}, "must have 2 items, it has 1"),
        ({"steps": 1, "inner": 3}, "inner=3 must be a table"),
        ({"steps": 1, "limits": 3}, "limits=3 must be a table"),
        ({"steps": 1, "folder": 3}, "folder=3 must be a path"),
    ],
)
def test_what_does_not_fit_is_refused(table: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        parsed_table(Outer, table)


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ({"more": True}, {"more": Inner()}),
        ({"more": {"rate": 0.25}}, {"more": Inner(rate=0.25)}),
        ({"more": False}, {"more": None}),
        ({"limit": False}, {"limit": None}),
        ({"limit": None}, {"limit": None}),
        ({"wanted": False}, {"wanted": False}),
        ({"inner": {"names": "one"}}, {"inner": Inner(names=("one",))}),
        ({"inner": Inner(rate=0.75), "folder": Path("x")}, {"inner": Inner(rate=0.75), "folder": Path("x")}),
    ],
)
def test_what_may_be_left_out_is_switched_and_a_text_is_a_list_of_one(
    table: dict[str, Any], found: dict[str, Any]
) -> None:
    assert parsed_table(Outer, {"steps": 1} | table) == Outer(steps=1, **found)


def test_settings_change_a_copy() -> None:
    table = {"run": {"steps": 1}}
    changed = with_settings(table, ["run.steps=5", "a.b.c=[1, 2]", "a.word=best_fit", 'a.text="x = y"', "a.flag=true"])
    assert changed == {
        "run": {"steps": 5},
        "a": {"b": {"c": [1, 2]}, "word": "best_fit", "text": "x = y", "flag": True},
    }
    assert table == {"run": {"steps": 1}}


@pytest.mark.parametrize("setting", ["run.steps", "=5", "run..steps=5", "run.steps.more=5"])
def test_settings_without_a_sense_are_refused(setting: str) -> None:
    with pytest.raises(RecipeError, match="--set"):
        with_settings({"run": {"steps": 1}}, [setting])


@pytest.mark.parametrize(
    ("content", "said"), [(b"a = \xff", "not UTF-8"), (b"a = = 1", "not TOML"), (None, "there is no recipe")]
)
def test_files_that_are_no_recipe_are_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "recipe.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecipeError, match=said):
        read_table(path)


def test_a_file_that_cannot_be_read_is_no_missing_recipe(tmp_path: Path) -> None:
    (tmp_path / "loop.toml").symlink_to("loop.toml")
    with pytest.raises(RecipeError, match=r"loop\.toml cannot be read \(Too many levels"):
        read_table(tmp_path / "loop.toml")


def test_tables_in_a_list_are_flattened_by_their_number() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Many:
        parts: tuple[Inner, ...] = (Inner(), Inner(rate=0.25))

    flat = flattened(Many())
    assert (flat["parts.0.rate"], flat["parts.1.rate"]) == (0.5, 0.25)


@given(st.integers(), st.floats(0, 1), st.lists(st.text()), st.sampled_from(Colour))
def test_flattened_values_are_json_and_name_their_place(
    steps: int, rate: float, names: list[str], colour: Colour
) -> None:
    outer = Outer(steps=steps, folder=Path("f"), colour=colour, inner=Inner(rate=rate, names=tuple(names)))
    flat = flattened(outer)
    assert flat["steps"] == steps
    assert flat["folder"] == "f"
    assert flat["colour"] == colour.value
    assert type(flat["colour"]) is str
    assert (flat["inner.rate"], flat["inner.names"]) == (rate, names)
