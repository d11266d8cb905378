"""The command trains, tells what it did, refuses in words, and is the same in both of its places."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from moesaic.cli.train import train as cli_train
from moesaic.errors import RecipeError
from moesaic.training.command import train
from tests.repository import ROOT
from tests.training.tiny_run import one_thread, recipe_table, write_recipe


def app() -> typer.Typer:
    made = typer.Typer()
    made.command()(train)
    return made


def recipe_in(folder: Path) -> Path:
    return write_recipe(folder / "recipe.toml", recipe_table(folder))


def test_it_trains_and_goes_on_and_tells_it_as_json(tmp_path: Path) -> None:
    recipe = str(recipe_in(tmp_path))
    with one_thread():
        first = CliRunner().invoke(app(), [recipe, "--json", "--set", f"output.folder={tmp_path / 'artifact'}"])
        again = CliRunner().invoke(app(), [recipe, "--json", "--set", "run.steps=8", "--resume", "changed"])
    assert first.exit_code == again.exit_code == 0, first.output
    report = json.loads(first.stdout)
    assert (report["steps"], report["resumed_at"]) == (6, None)
    assert report["artifacts"][0]["folder"] == str(tmp_path / "artifact")
    assert "step 6/6: loss" in first.stderr
    assert json.loads(again.stdout)["resumed_at"] == 6


def test_it_tells_in_words_without_json(tmp_path: Path) -> None:
    with one_thread():
        done = CliRunner().invoke(app(), [str(recipe_in(tmp_path))])
    assert done.stdout == "trained 6 steps\n"


def test_errors_of_the_recipe_come_out_as_they_are(tmp_path: Path) -> None:
    done = CliRunner().invoke(app(), [str(recipe_in(tmp_path)), "--set", "optimizer.learning_rte=1"])
    assert isinstance(done.exception, RecipeError)
    assert "did you mean optimizer.learning_rate?" in str(done.exception)


@pytest.mark.parametrize(("words", "code"), [(["none.toml"], 2), (["--help"], 0)])
def test_the_module_is_a_program_with_exit_codes(words: list[str], code: int) -> None:
    command = [sys.executable, "-m", "moesaic.training", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    said = done.stdout if code == 0 else done.stderr
    assert ("--set" if code == 0 else "RecipeError: there is no recipe 'none.toml'") in said


def test_the_command_line_has_the_same_command() -> None:
    assert cli_train is train


def test_importing_the_command_loads_no_torch() -> None:
    code = "import sys, moesaic.cli.train; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
