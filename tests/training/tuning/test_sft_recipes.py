"""The recipes for tuning that the repository carries are sound: every key is known, and their tables agree."""

import dataclasses
from typing import Any, get_args, get_type_hints

import pytest

from moesaic.errors import RecipeError
from moesaic.training.recipe import Recipe
from moesaic.training.recipe_table import parsed_table, read_table
from moesaic.training.tuning.example_recipe import ExampleKind, ExampleOptions
from moesaic.training.tuning.tuned_part import TunedPart, TuningOptions
from tests.repository import ROOT

RECIPES = sorted((ROOT / "recipes").glob("sft-*.toml"))
TABLES: dict[str, Any] = {"examples": ExampleOptions, "tuning": TuningOptions}


def parsed(table: dict[str, Any]) -> dict[str, Any]:
    """Each table by its own dataclass."""
    hints = {name: next(iter(get_args(hint)), hint) for name, hint in get_type_hints(Recipe).items()} | TABLES
    assert set(table) <= set(hints)
    return {
        name: parsed_table(hints[name], content, name)
        for name, content in table.items()
        if dataclasses.is_dataclass(hints[name])
    }


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_sound(path: Any) -> None:
    table = read_table(path)
    found = parsed(table)
    assert set(found) == set(table)
    assert isinstance(found["examples"], ExampleOptions)
    if found["tuning"].part is not TunedPart.FULL:
        # A router that is frozen must not be moved by its bias, nor push gradients into what lies below it.
        router = found["router"]
        assert (router.balance, router.z_coefficient, router.rate) == (0.0, 0.0, 0.0)


def test_all_kinds_and_parts_have_one() -> None:
    found = [parsed(read_table(path)) for path in RECIPES]
    assert {recipe["examples"].kind for recipe in found} == set(ExampleKind)
    assert {recipe["tuning"].part for recipe in found} == set(TunedPart)


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ({"examples": {"paths": ["a"], "kinds": "grounded"}}, "did you mean examples.kind"),
        ({"examples": {"paths": ["a"], "kind": "poems"}}, "examples.kind='poems' is unknown"),
        ({"tuning": {"part": "lora", "lora": {"rank": 0}}}, r"\[tuning.lora\] rank=0 must be 1 to 1024"),
        ({"tuning": {"lora": {"targets": ["router"]}}}, "must be some of attention, dense, experts"),
    ],
)
def test_faults_are_named_by_table(table: dict[str, Any], fault: str) -> None:
    with pytest.raises(RecipeError, match=fault):
        parsed(table)
