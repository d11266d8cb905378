"""Every recipe that ends with an artifact is read as its command reads it: known keys, tables that agree."""

from pathlib import Path

import pytest

from moesaic.errors import RecipeError
from moesaic.training.recipe import load_recipe
from moesaic.training.recipe_table import read_table
from moesaic.training.refresh import load_refresh_recipe
from tests.repository import ROOT

RECIPES = [
    path for path in sorted((ROOT / "recipes").glob("*.toml")) if read_table(path).keys().isdisjoint({"plan", "corpus"})
]
"""Those of `moesaic train` and `moesaic refresh`."""


def is_refresh(path: Path) -> bool:
    return "refresh" in read_table(path)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_read(path: Path) -> None:
    recipe = load_refresh_recipe(path).training if is_refresh(path) else load_recipe(path)
    assert recipe.output.folder is not None, "every recipe ends with an artifact"
    assert not recipe.output.folder.is_absolute()


def test_there_is_one_of_each_kind() -> None:
    recipes = [load_recipe(path) for path in RECIPES if not is_refresh(path)]
    assert {"pretrain", "dapt", "sft"} <= {recipe.run.stage for recipe in recipes}
    assert {"scratch", "upcycle", "continue"} <= {recipe.model.start for recipe in recipes}
    assert any(map(is_refresh, RECIPES))


def test_runs_and_artifacts_do_not_share_folders() -> None:
    recipes = [load_recipe(path) for path in RECIPES if not is_refresh(path)]
    folders = [folder for recipe in recipes for folder in (recipe.run.folder, recipe.output.folder)]
    assert len(set(folders)) == len(folders)


def test_a_misspelt_recipe_is_refused(tmp_path: Path) -> None:
    text = (ROOT / "recipes" / "smol-dapt.toml").read_text(encoding="utf-8")
    (tmp_path / "recipe.toml").write_text(text.replace("[precision]", "[precisoin]"), encoding="utf-8")
    with pytest.raises(RecipeError, match="precis"):
        load_recipe(tmp_path / "recipe.toml")
