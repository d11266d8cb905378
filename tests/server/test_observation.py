"""What the owner sees: counters that add up, one line for each call, and never a prompt or an answer or a token."""

import json
import logging
from pathlib import Path

import grpc
import pytest

from moesaic import v1
from moesaic.server.engine import ScriptedEngine
from moesaic.server.observation import JsonFormatter
from tests.server.serving import Served, chat, generate, refused, serving, streamed

PROMPT, ANSWER = "a-secret-question-叶", "a-secret-answer-绿"


def value(served: Served, name: str, **labels: str) -> float:
    return served.server.observation.registry.get_sample_value(name, labels) or 0.0


def facts(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    return [vars(record)["facts"] for record in caplog.records if record.message == "call"]


async def test_counters_add_up() -> None:
    async with serving([ANSWER]) as served:
        await served.call("Generate", generate(PROMPT))
        await served.call("ChatStream", v1.ChatStreamRequest(request=chat(PROMPT)))
        await refused(served, "Generate", generate(max_tokens=0))
        assert value(served, "moesaic_calls_total", method="Generate", code="OK") == 1
        assert value(served, "moesaic_calls_total", method="ChatStream", code="OK") == 1
        assert value(served, "moesaic_calls_total", method="Generate", code="INVALID_ARGUMENT") == 1
        assert value(served, "moesaic_call_seconds_count", method="Generate") == 2
        assert value(served, "moesaic_first_token_seconds_count", method="ChatStream") == 1
        assert value(served, "moesaic_tokens_total", kind="completion") == 2 * (len(ANSWER.encode()) + 1)
        prompts = len(PROMPT.encode()) + len(f"user: {PROMPT}\nassistant: ".encode())
        assert value(served, "moesaic_tokens_total", kind="prompt") == prompts
        assert value(served, "moesaic_engine_running") == 0


async def test_a_line_for_each_call_and_no_prompt_in_any(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    token = "the-token-of-ada-is-long"
    (tmp_path / "tokens.txt").write_text(f"ada {token}\n")
    caplog.set_level(logging.DEBUG)
    bearer = [("authorization", f"Bearer {token}"), ("x-request-id", "r1")]
    async with serving([ANSWER], tokens_file=tmp_path / "tokens.txt") as served:
        await served.call("Generate", generate(PROMPT), metadata=bearer)
        await served.call("GenerateStream", streamed(PROMPT), metadata=bearer)
        await refused(served, "Generate", generate(PROMPT, stop=[PROMPT] * 17), metadata=bearer)
        await refused(served, "Chat", chat(PROMPT), metadata=[("authorization", f"Bearer x{token}")])
        await served.call("Tokenize", v1.TokenizeRequest(text=PROMPT), metadata=bearer)
    logged = facts(caplog)
    assert [(line["method"], line["code"], line["principal"]) for line in logged] == [
        ("Generate", "OK", "ada"),
        ("GenerateStream", "OK", "ada"),
        ("Generate", "INVALID_ARGUMENT", "ada"),
        ("Chat", "UNAUTHENTICATED", ""),
        ("Tokenize", "OK", "ada"),
    ]
    assert {line["request_id"] for line in logged[:3]} == {"r1"}
    assert logged[0]["completion_tokens"] == len(ANSWER.encode()) + 1
    everything = "\n".join(JsonFormatter().format(record) for record in caplog.records)
    for secret in ("a-secret", token):
        assert secret not in everything


async def test_a_fault_of_ours_is_told_to_the_log_and_to_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    class Faulty(ScriptedEngine):
        async def score(self, sequences: object) -> list[list[float]]:
            raise ZeroDivisionError("in /srv/engine.py")

    async with serving(Faulty()) as served:
        asked = v1.ScoreRequest(continuations=[v1.TextOrTokens(text="x")])
        refusal = await refused(served, "Score", asked, metadata=[("x-request-id", "r9")])
        assert (refusal.code, refusal.request_id) == (grpc.StatusCode.INTERNAL, "r9")
        assert "engine.py" not in refusal.message
        assert "r9" in refusal.message
        assert served.idle()
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None
    line = json.loads(JsonFormatter().format(record))
    assert (line["level"], line["request_id"]) == ("error", "r9")
    assert "ZeroDivisionError" in line["traceback"]


def test_a_line_is_one_object() -> None:
    record = logging.LogRecord("moesaic.server", logging.WARNING, "", 0, "two\nlines %s", ("世",), None)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert json.loads(line)["message"] == "two\nlines 世"
