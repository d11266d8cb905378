"""`moesaic calibrate`: a file that `moesaic ask` takes, over a real server; and what goes wrong."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from moesaic.chains import RagCalibration
from moesaic.server.engine import ScriptedEngine
from tests.chains.animal_questions import QUESTIONS, TEXTS
from tests.chains.rag_scene import made_base
from tests.chains.served import served
from tests.cli.running import assert_nothing_left, refusal, run


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    made_base(folder / "guide", TEXTS).close()
    return folder


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    with served(ScriptedEngine()) as target:
        yield target


def written(folder: Path, questions: object) -> Path:
    path = folder / "questions.json"
    path.write_text(json.dumps(questions, ensure_ascii=False), encoding="utf-8")
    return path


def test_a_calibration_is_fitted_told_of_and_used(home: Path, target: str, tmp_path: Path) -> None:
    out = tmp_path / "new" / "calibration.json"
    words = ("--kb", "guide", "--base", home, "--target", target)
    outcome = run("calibrate", written(tmp_path, QUESTIONS), *words, "--out", out)
    assert outcome.code == 0, outcome
    assert "12 questions with an answer (found for 12), 12 without" in outcome.stdout
    assert "decline F1" in outcome.stdout
    assert str(out) in outcome.stdout.replace("\n", "")
    fitted = RagCalibration.read(out)
    assert fitted.fitted_on == "24 questions of questions.json on guide, asked of tiny " + fitted.fitted_on.split()[-1]
    assert fitted.answerable_weights != RagCalibration.load().answerable_weights

    value = json.loads(run("ask", "Where does the cat sleep?", *words, "--json", "--calibration", out).stdout)
    shipped = json.loads(run("ask", "Where does the cat sleep?", *words, "--json").stdout)
    assert value["score"] != shipped["score"]


def test_everything_as_json(home: Path, target: str, tmp_path: Path) -> None:
    out = tmp_path / "calibration.json"
    words = ("--kb", "guide", "--base", home, "--target", target, "--out", out, "--json")
    value = json.loads(run("calibrate", written(tmp_path, QUESTIONS), *words).stdout)
    assert value.keys() == {"file", "answerable", "found", "unanswerable", "before", "after", "better"}
    assert value["after"].keys() == {"decline_f1", "log_loss", "first_span"}


@pytest.mark.parametrize(
    ("questions", "reason"),
    [
        (QUESTIONS[:12], "12 questions have an answer that was found, 0 have none"),
        ([{"question": "Why?", "gold": [{"document": "cats", "quote": "x"}]}], "there is no document 'cats'"),
        ([{"question": "Why?", "gold": [{"document": "cat", "quote": "meow"}]}], "does not stand in its text"),
        ([{"question": "Why?", "context": "So.", "answers": [{"text": "So", "answer_start": 0}]}], "texts of its own"),
        ([{"question": "Why?"}], "neither context, passages nor gold"),
        ({}, "neither a list of questions"),
    ],
)
def test_questions_that_will_not_do_are_refused(
    home: Path, target: str, tmp_path: Path, questions: object, reason: str
) -> None:
    out = tmp_path / "calibration.json"
    words = ("--kb", "guide", "--base", home, "--target", target, "--out", out)
    assert reason in refusal(2, "calibrate", written(tmp_path, questions), *words)
    assert_nothing_left(out)


def test_a_calibration_that_will_not_do_is_refused(home: Path, target: str, tmp_path: Path) -> None:
    words = ("--kb", "guide", "--base", home, "--target", target)
    bad = written(tmp_path, {"fitted_on": "nothing"})
    assert "answerable_weights is missing" in refusal(2, "ask", "Where?", *words, "--calibration", bad)
    assert "can't be read" in refusal(2, "ask", "Where?", *words, "--calibration", tmp_path / "nowhere")
    assert "no.json can't be read" in refusal(2, "calibrate", tmp_path / "no.json", *words, "--out", tmp_path / "out")


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_asked(home: Path, tmp_path: Path) -> None:
    words = ("--kb", "guide", "--base", home, "--target", "127.0.0.1:1")
    asked = written(tmp_path, QUESTIONS)
    assert "is a folder" in refusal(2, "calibrate", asked, *words, "--out", tmp_path)
    assert "choose another folder" in refusal(4, "calibrate", asked, *words, "--out", asked / "out.json")
