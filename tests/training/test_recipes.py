"""The recipes that come with Moesaic are sound, and the smallest of them trains."""

from pathlib import Path

import pytest

from moesaic.training.adaptation import StageKind
from moesaic.training.adaptation.plan_recipe import load_plan_recipe
from moesaic.training.pretraining import pretrain
from moesaic.training.recipe import load_recipe
from moesaic.training.refresh import load_refresh_recipe
from moesaic.training.tuning.pair_recipe import load_pair_recipe
from tests.repository import ROOT
from tests.training.tiny_run import lines_of, one_thread, tokenizer_of, write_corpus

REFRESH = ROOT / "recipes" / "refresh.toml"
PAIRS = ROOT / "recipes" / "pairs-relevance.toml"
PLAN = ROOT / "recipes" / "adaptation.toml"
RECIPES = sorted(set((ROOT / "recipes").glob("*.toml")) - {REFRESH, PAIRS, PLAN})


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_understood(path: Path) -> None:
    recipe = load_recipe(path)
    assert str(recipe.run.folder) == f"build/runs/{path.stem}"
    assert str(recipe.output.folder) == f"build/models/{path.stem}"


def test_the_refresh_is_understood() -> None:
    recipe = load_refresh_recipe(REFRESH)
    assert recipe.refresh.recipe.name in {path.name for path in RECIPES}
    assert recipe.gate.texts


def test_the_pairs_are_understood() -> None:
    recipe = load_pair_recipe(PAIRS)
    assert str(recipe.output.folder) == f"build/models/{PAIRS.stem}"


def test_the_plan_is_understood() -> None:
    recipe = load_plan_recipe(PLAN)
    assert [stage.kind for stage in recipe.plan.stages] == list(StageKind)
    assert recipe.config.folder == Path("build") / PLAN.stem
    assert recipe.shared["output"]["folder"] == f"build/models/{PLAN.stem}"


def test_there_are_recipes_for_every_start() -> None:
    assert {load_recipe(path).model.start for path in RECIPES} == {"scratch", "upcycle", "continue"}


def test_the_smallest_recipe_trains(tmp_path: Path) -> None:
    tokenizer_of(tmp_path / "tokenizer")
    corpus = write_corpus(tmp_path)
    settings = [f"run.folder={tmp_path / 'run'}", f"output.folder={tmp_path / 'out'}", "run.steps=2"]
    settings += [f"model.tokenizer={tmp_path / 'tokenizer'}", f'text.paths=["{corpus}"]', "batch.rows=4"]
    with one_thread():
        outcome = pretrain(load_recipe(ROOT / "recipes" / "tiny.toml", settings))
    assert outcome.artifacts[0].manifest.architecture.experts_per_layer == (0, 2, 0, 4)
    assert len(lines_of(tmp_path / "run")) == 2
