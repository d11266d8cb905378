"""`moesaic generate` on the plain PyTorch engine: what it prints, and what it refuses before it loads a model."""

import json
from pathlib import Path
from typing import Any

import pytest

from moesaic.server.engine import TransformersEngine
from moesaic.server.engine.hardware import Machine
from tests.cli.running import Outcome, refusal, run
from tests.server.engine.machines import MACHINES

PLAIN = ("--engine", "transformers")


def generate(model: Path, prompt: str, *words: object) -> Outcome:
    outcome = run("generate", "--model", model, prompt, *PLAIN, *words)
    assert outcome.code == 0, outcome
    return outcome


def answer(model: Path, prompt: str, *words: object) -> dict[str, Any]:
    """The JSON that is all of standard output."""
    found: dict[str, Any] = json.loads(generate(model, prompt, *words, "--json").stdout)
    return found


@pytest.fixture
def never_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test if a model is loaded."""

    async def start(self: TransformersEngine) -> None:
        raise AssertionError("a model was loaded for a request that cannot be answered")

    monkeypatch.setattr(TransformersEngine, "start", start)


def test_the_text_is_all_of_standard_output(moe: Path) -> None:
    found = answer(moe, "Leaves are 绿色的", "--max-tokens", 12)
    shown = generate(moe, "Leaves are 绿色的", "--max-tokens", 12)
    assert shown.stdout == found["text"] + "\n"
    assert "TransformersEngine" in shown.stderr
    assert "ended by" in shown.stderr


def test_json_has_the_whole_answer(moe: Path) -> None:
    found = answer(moe, "Leaves", "--max-tokens", 5, "--raw")
    assert (found["engine"], found["model"]) == ("TransformersEngine", str(moe))
    assert found["prompt_tokens"] == len("Leaves")
    assert found["completion_tokens"] <= 5
    assert found["finish_reason"] in ("length", "stop")
    assert len(found["digest"]) == 64
    assert found["start_seconds"] > 0


def test_the_chat_template_is_used_unless_raw(moe: Path) -> None:
    raw = answer(moe, "Hello", "--max-tokens", 1, "--raw")["prompt_tokens"]
    chat = answer(moe, "Hello", "--max-tokens", 1)["prompt_tokens"]
    instructed = answer(moe, "Hello", "--max-tokens", 1, "--system", "Be brief.")["prompt_tokens"]
    assert (raw, chat) == (5, len("user: Hello\n"))
    assert instructed == chat + len("system: Be brief.\n")


def test_a_seed_makes_it_reproducible(moe: Path) -> None:
    drawn = ("--temperature", 1, "--max-tokens", 16, "--top-p", 0.9)
    first, again, other = (answer(moe, "Hello", *drawn, "--seed", seed)["text"] for seed in (3, 3, 4))
    assert first == again
    assert first != other


@pytest.mark.usefixtures("never_loaded")
@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--temperature", -1], ["temperature", "-1.0", "0 to 2"]),
        (["--temperature", "nan"], ["temperature", "nan", "0 to 2"]),
        (["--temperature", "inf"], ["temperature", "inf", "0 to 2"]),
        (["--top-p", 0], ["top_p", "0.0", "above 0, at most 1"]),
        (["--top-p", 1.01], ["top_p", "1.01", "at most 1"]),
        (["--max-tokens", 0], ["max_tokens", "0 is not", "from 1 to"]),
        (["--max-tokens", 257], ["max_tokens", "257", "the context holds 256 tokens"]),
        (["--seed", 2**70], ["seed", str(2**70), str(2**63 - 1)]),
        (["--seed", -1], ["seed", "-1", "from 0"]),
        (["--system", "x", "--raw"], ["system", "chat template"]),
        (["--dtype", "int7"], ["int7", "bfloat16"]),
        (["--engine", "abacus"], ["abacus", "vllm", "transformers"]),
    ],
    ids=str,
)
def test_absurd_values_are_refused_before_a_model_is_loaded(moe: Path, words: list[object], parts: list[str]) -> None:
    message = refusal(2, "generate", "--model", moe, "Hello", *PLAIN, *words)
    assert [part for part in parts if part not in message] == [], message


@pytest.mark.usefixtures("never_loaded")
@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("long " * 60, ["prompt_token_ids", "300", "256", "255"]),
        ("", ["empty"]),
        ("half of a \udce4 character", ["prompt", "UTF-8"]),
    ],
    ids=["long", "empty", "broken"],
)
def test_prompts_that_do_not_fit_are_refused(moe: Path, prompt: str, parts: list[str]) -> None:
    message = refusal(2, "generate", "--model", moe, prompt, *PLAIN, "--raw")
    assert [part for part in parts if part not in message] == [], message


@pytest.mark.parametrize(("option", "value"), [("--max-tokens", "many"), ("--temperature", "hot"), ("--seed", "1.5")])
def test_what_is_no_number_is_refused_with_the_usage(moe: Path, option: str, value: str) -> None:
    message = refusal(2, "generate", "--model", moe, "Hello", option, value)
    assert "Usage" in message
    assert f"Invalid value for '{option}'" in message


def test_a_folder_that_is_no_artifact(base: Path, tmp_path: Path) -> None:
    assert "moesaic.json" in refusal(3, "generate", "--model", base, "Hello")
    assert str(tmp_path / "gone") in refusal(2, "generate", "--model", tmp_path / "gone", "Hello")


def test_vllm_where_it_is_not_installed_names_what_brings_it(moe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "detect", classmethod(lambda cls: MACHINES["no vllm"]))
    message = refusal(5, "generate", "--model", moe, "Hello", "--engine", "vllm", "--max-tokens", 4)
    assert "vLLM" in message
    assert answer(moe, "Hello", "--max-tokens", 1, "--engine", "auto")["engine"] == "TransformersEngine"
