"""`moesaic data`, one command after another, as a user runs it."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from typer.testing import CliRunner

from moesaic.cli.data import app
from moesaic.errors import InputError, RecipeError
from tests.training.data.test_debian_packages import archives  # noqa: F401 -- a fixture
from tests.training.data.test_preparation import article
from tests.training.data.text_samples import CHINESE, ENGLISH, random_chinese, random_words


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


def test_decontaminate(raw: Path, tmp_path: Path) -> None:
    asked = {"question": article(3), "answer": "none"}
    (tmp_path / "exam.jsonl").write_text(json.dumps(asked) + "\n")
    words = ("decontaminate", raw, "--against", tmp_path / "exam.jsonl", "--to", tmp_path / "left.jsonl")
    found = json_of(*words, "--against-field", "question", "--against-field", "answer")
    assert found["stages"]["4-decontaminate"]["details"]["removed"] == 1
    left = texts(tmp_path / "left.jsonl")
    assert len(left) == 15
    assert article(3) not in left
    assert CHINESE in left
    assert "1 texts share a run with an evaluation text" in run(*words, "--against-field", "question")


def test_mask(tmp_path: Path) -> None:
    text = "Write to jane.doe@moesaic.io or call 13812345678, 请拨打 13912345678。"
    (tmp_path / "raw.jsonl").write_text(json.dumps({"body": text}) + "\n")
    words = ("mask", tmp_path / "raw.jsonl", "--text-field", "body", "--to", tmp_path / "masked.jsonl")
    assert json_of(*words)["stages"]["5-mask"]["details"]["masked"]["phone"] == 2
    assert texts(tmp_path / "masked.jsonl") == ["Write to <EMAIL> or call <PHONE>, 请拨打 <PHONE>。"]
    assert "1 email" in run(*words, "--kind", "email")
    assert texts(tmp_path / "masked.jsonl") == [text.replace("jane.doe@moesaic.io", "<EMAIL>")]
    outcome = CliRunner().invoke(app, [*map(str, words), "--kind", "name"])
    assert isinstance(outcome.exception, RecipeError)


def test_a_quality_classifier_is_trained_kept_and_applied(tmp_path: Path) -> None:
    generator = random.Random(0)
    for name in ("good", "raw"):
        lines = []
        for number in range(200):
            good = name == "good" or number % 10 == 0
            words = random_words(generator, 40, 12) if good else random_chinese(generator, 60)
            lines.append(json.dumps({"text": f"{number} " + (" " if good else "").join(words)}))
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    classifier = tmp_path / "made" / "quality.npz"
    train = ("train-quality", tmp_path / "raw.jsonl", "--curated", tmp_path / "good.jsonl")
    held_out = json_of(*train, "--to", classifier)["held_out"]
    assert held_out["texts"] == 40
    assert held_out["auc"] > 0.8
    assert f"auc {held_out['auc']:.3f}" in run(*train, "--to", classifier)

    def kept(curated: Path, place: str) -> list[float]:
        words = ("quality", tmp_path / "raw.jsonl", "--curated", curated, "--pareto", "6", "--to", tmp_path / place)
        details = json_of(*words)["stages"]["6-quality"]["details"]
        assert details["scored"] == 200
        return list(details["score_deciles"])

    # The same classifier, whether it is kept or trained on the spot.
    on_the_spot = kept(tmp_path / "good.jsonl", "on-the-spot.jsonl")
    assert kept(classifier, "by-file.jsonl") == pytest.approx(on_the_spot, abs=1e-3)
    found = texts(tmp_path / "by-file.jsonl")
    assert len(found) < 100
    assert sum(text.isascii() for text in found) / len(found) > 3 * 20 / 200

    wrong: list[tuple[tuple[object, ...], type[Exception]]] = [
        ((*train, "--to", tmp_path / "quality.bin"), InputError),
        (("train-quality", tmp_path / "raw.jsonl", "--curated", classifier, "--to", classifier), RecipeError),
    ]
    for given, error in wrong:
        outcome = CliRunner().invoke(app, list(map(str, given)))
        assert isinstance(outcome.exception, error), outcome.output


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
