"""`moesaic data`, one command after another, as a user runs it."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from typer.testing import CliRunner

from moesaic.cli.data import app
from moesaic.errors import RecipeError
from tests.training.data.test_debian_packages import archives  # noqa: F401 -- a fixture
from tests.training.data.test_preparation import article
from tests.training.data.text_samples import CHINESE, ENGLISH


def run(*words: object) -> str:
    outcome = CliRunner().invoke(app, list(map(str, words)))
    assert outcome.exit_code == 0, (outcome.output, outcome.exception)
    return outcome.stdout


def json_of(*words: object) -> dict[str, Any]:
    value = json.loads(run(*words, "--json"))
    assert isinstance(value, dict)
    return value


def texts(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text().splitlines()]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    contents = [ENGLISH, CHINESE, ENGLISH + " And that was all of it.", "short", *map(article, range(12))]
    for number, text in enumerate(contents):
        (folder / f"{number:02}.txt").write_text(text)
    return folder


def test_clean_then_dedup_then_select_then_report(raw: Path, tmp_path: Path) -> None:
    shown = run("clean", raw, "--to", tmp_path / "clean.jsonl")
    assert "wrote 15 documents" in shown
    assert "language" in shown
    shown = run("dedup", tmp_path / "clean.jsonl", "--to", tmp_path / "unique.jsonl")
    assert "wrote 14 documents" in shown
    assert "0 exact copies, 1 near-duplicates" in shown
    kept = texts(tmp_path / "unique.jsonl")
    assert ENGLISH not in kept
    assert CHINESE in kept
    (tmp_path / "target.jsonl").write_text("".join(json.dumps({"text": article(n)}) + "\n" for n in range(10)))
    found = json_of(
        "select", tmp_path / "unique.jsonl", "--target", tmp_path / "target.jsonl", "--keep", "0.5",
        "--to", tmp_path / "selected.jsonl",
    )  # fmt: skip
    assert found["stages"]["7-select"]["details"]["selected"] == 7
    assert CHINESE not in texts(tmp_path / "selected.jsonl")
    numbers = json_of("report", tmp_path / "selected.jsonl", "--plot", tmp_path / "x.png")
    assert numbers["composition"]["all"]["documents"] == 7
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert "Composition" in run("report", raw)
    assert "nats nearer to the target than random" in run(
        "select", raw, "--target", raw, "--to", tmp_path / "again.jsonl"
    )


def test_rules_and_languages_can_be_chosen(raw: Path, tmp_path: Path) -> None:
    found = json_of("clean", raw, "--to", tmp_path / "a.jsonl", "--language", "zh", "--without", "characters")
    assert found["composition"]["all"]["languages"] == {"zh": 1}
    assert found["stages"]["2-clean"]["details"]["rules"]["language"]["removed"] == 15


def test_shards_by_a_recipe(raw: Path, tmp_path: Path) -> None:
    vocabulary = {"<unk>": 0, "</s>": 1, "the": 2}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    (tmp_path / "tokenizer").mkdir()
    tokenizer.save(str(tmp_path / "tokenizer/tokenizer.json"))
    (tmp_path / "tokenizer/tokenizer_config.json").write_text('{"eos_token": "</s>"}')
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'[data]\nfolder = "{tmp_path}/ignored"\n[[data.sources]]\nname = "raw"\npaths = "{raw}"\n')
    words = ("shards", recipe, "--tokenizer", tmp_path / "tokenizer", "--to", tmp_path / "data")
    assert "shards of raw are in" in run(*words)
    assert not (tmp_path / "ignored").exists()
    again = json_of(*words)
    assert Path(again["train"]["raw"], "index.json").is_file()
    assert json_of("report", tmp_path / "data")["stages"] == again["stages"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [(None, "there is no recipe"), ("x", "is not TOML"), ("[model]", "has no table"), ("data=1", "no table")],
)
def test_bad_recipes_are_refused(tmp_path: Path, content: str | None, fault: str) -> None:
    recipe = tmp_path / "recipe.toml"
    if content is not None:
        recipe.write_text(content)
    outcome = CliRunner().invoke(app, ["shards", str(recipe)])
    assert isinstance(outcome.exception, RecipeError)
    assert fault in str(outcome.exception)


def test_fetch(archives: Path, tmp_path: Path) -> None:  # noqa: F811 -- the fixture
    found = json_of("fetch", "foo-doc", "--to", tmp_path / "debian")
    assert found["packages"][0]["version"] == "1.2-3"
    assert "Foo." in Path(found["packages"][0]["folder"], "usr/share/doc/foo-doc/page.txt").read_text()
    assert run("fetch", "foo-doc", "--to", tmp_path / "debian").startswith("foo-doc 1.2-3: ")


@pytest.mark.parametrize("command", ["fetch", "clean", "dedup", "select", "report", "shards"])
def test_help_has_an_example(command: str) -> None:
    assert f"Example: moesaic data {command}" in " ".join(run(command, "--help").split())
