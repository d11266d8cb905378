"""`moesaic ask`: answers with citations over a real server, declines that are no failures, and what goes wrong."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from moesaic.server.engine import GenerateRequest, ScriptedEngine
from tests.chains.rag_scene import made_base
from tests.chains.scripted_model import prompt_of
from tests.chains.served import served
from tests.cli.running import refusal, run

WRITTEN = "The cat sleeps on the mat. Lions hunt zebras across the savannah."


def script(request: GenerateRequest) -> str:
    return WRITTEN if "Question:" in prompt_of(request) else "1"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    made_base(folder / "guide").close()
    return folder


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    with served(ScriptedEngine(script)) as target:
        yield target


def test_the_answer_and_then_its_citations(home: Path, target: str) -> None:
    words = ("--kb", "guide", "--base", home, "--target", target, "--threshold", 0, "--citations", 1)
    outcome = run("ask", "Where does the cat sleep?", *words)
    assert (outcome.code, outcome.stdout.splitlines()) == (
        0,
        [
            "The cat sleeps on the mat.",
            "",
            "[1] pets 0-26  support 1.00",
            "    The cat sleeps on the mat.",
        ],
    )
    assert "score 0." in outcome.stderr


def test_everything_as_json(home: Path, target: str) -> None:
    words = ("--kb", "guide", "--base", home, "--target", target, "--threshold", 0, "--json")
    outcome = run("ask", "猫睡在哪里?", *words)
    value = json.loads(outcome.stdout)
    assert (outcome.code, value["base"], value["question"], value["declined"]) == (0, "guide", "猫睡在哪里?", False)
    assert value["citations"][0] | {"support": 1.0} == {
        "document": "宠物",
        "start": 0,
        "end": 7,
        "quote": "猫睡在垫子上。",
        "answer_start": 0,
        "answer_end": 7,
        "support": 1.0,
    }
    assert value["seconds"] > 0
    assert value["model"] == "tiny"


def test_to_decline_is_no_failure(home: Path, target: str) -> None:
    outcome = run("ask", "Who won?", "--kb", "guide", "--base", home, "--target", target, "--threshold", 1)
    assert outcome.code == 0
    assert outcome.stdout.startswith("Declined: the knowledge base does not seem to hold the answer (score 0.")
    value = json.loads(
        run("ask", "Who won?", "--kb", "guide", "--base", home, "--target", target, "--threshold", 1, "--json").stdout
    )
    assert (value["declined"], value["citations"]) == (True, [])


def test_an_answer_that_the_model_writes_says_what_was_left_out(home: Path, target: str) -> None:
    words = ("--kb", "guide", "--base", home, "--target", target, "--threshold", 0, "--mode", "generative")
    outcome = run("ask", "Where does the cat sleep?", *words)
    assert outcome.code == 0
    lines = outcome.stdout.splitlines()
    assert lines[0] == "The cat sleeps on the mat."
    assert lines[-1] == "left out, no passage bears it out: Lions hunt zebras across the savannah."


def test_retrieval_alone_needs_no_server(home: Path) -> None:
    words = ("--kb", "guide", "--base", home, "--target", "127.0.0.1:1", "--threshold", 0, "--judge", "none")
    outcome = run("ask", "Where does the cat sleep?", *words)
    assert (outcome.code, outcome.stdout.splitlines()[0]) == (0, "The cat sleeps on the mat.")


@pytest.mark.parametrize(
    ("code", "words", "reason"),
    [
        (2, ("Where?", "--kb", "gide"), "has 'guide'"),
        (2, (" ", "--kb", "guide"), "the question is blank"),
        (2, ("why " * 300, "--kb", "guide"), "at most 1000"),
        (2, ("half \udcff", "--kb", "guide"), "not text in UTF-8"),
        (2, ("Where?", "--kb", "guide", "--threshold", 2), "threshold=2.0 must be 0 to 1"),
        (2, ("Where?", "--kb", "guide", "--citations", 0), "max_citations=0 must be 1 to 10"),
        (2, ("Where?", "--kb", "guide", "--target", "a:1", "--model", "b"), "exclude each other"),
        (2, ("Where?", "--kb", "guide", "--model", "b", "--token-file", __file__), "for a server at --target"),
        (2, ("Where?", "--kb", "guide", "--token-file", "nowhere"), "cannot be read"),
        (2, ("Where?", "--kb", "guide", "--mode", "poetic"), "poetic"),
        (2, ("Where?", "--kb", "guide", "--model", "nowhere"), "no model folder"),
        (8, ("Where?", "--kb", "guide", "--target", "127.0.0.1:1", "--timeout-s", 60), "127.0.0.1:1"),
    ],
)
def test_what_goes_wrong_is_said(home: Path, code: int, words: tuple[object, ...], reason: str) -> None:
    assert reason in refusal(code, "ask", *words, "--base", home)


def test_a_model_in_this_process(home: Path, moe: Path) -> None:
    words = ("--kb", "guide", "--base", home, "--model", moe, "--engine", "transformers", "--threshold", 0)
    outcome = run("ask", "Where does the cat sleep?", *words, "--json")
    assert outcome.code == 0, outcome
    value = json.loads(outcome.stdout)
    assert value["citations"]
    assert value["weight_version"]
