"""The record: complete, append-only, without secrets, and in the way where it cannot be written."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from moesaic.errors import StorageError
from moesaic.tools import JsonLinesAudit, Toolbox, ToolCall, ToolContext
from moesaic.tools.audit import result_digest
from moesaic.tools.redaction import REDACTED, redacted
from tests.tools.scripted_tools import EchoTool

HERE = ToolContext.here(tenant="acme")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_every_call_has_two_lines(tmp_path: Path) -> None:
    audit = JsonLinesAudit(tmp_path / "audit.jsonl", durable=True)
    box = Toolbox([EchoTool()], audit=audit)
    await box.call(ToolCall(name="echo", arguments={"text": "你好"}, id="c1"), HERE)
    await box.call(ToolCall(name="echo", arguments={"text": "你好"}, id="c1"), HERE)
    await box.call(ToolCall(name="ehco"), HERE)
    audit.close()
    found = lines(audit.path)
    assert [(line["event"], line.get("status")) for line in found] == [
        ("begun", None),
        ("ended", "ok"),
        ("begun", None),
        ("ended", "ok"),
        ("begun", None),
        ("ended", "refused"),
    ]
    begun, ended, _, repeated, _, refused = found
    assert begun["arguments"] == {"text": "你好"}
    assert (ended["tenant"], ended["request_id"], ended["call_id"]) == ("acme", HERE.request_id, "c1")
    assert ended["result_digest"] == result_digest("你好")
    assert ended["duration_s"] > 0
    assert ended["time"].endswith("+00:00")
    assert repeated["repeated"] is True
    assert "there is no tool 'ehco'" in refused["error"]


async def test_lines_are_added_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    for text in ("first", "second"):
        audit = JsonLinesAudit(path)
        await Toolbox([EchoTool()], audit=audit).call(ToolCall(name="echo", arguments={"text": text}), HERE)
        audit.close()
    assert [line["arguments"]["text"] for line in lines(path)] == ["first", "first", "second", "second"]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


async def test_without_a_record_there_is_no_call(tmp_path: Path) -> None:
    tool = EchoTool()
    audit = JsonLinesAudit(tmp_path / "audit.jsonl")
    audit.close()
    with pytest.raises(StorageError, match="cannot write the audit"):
        await Toolbox([tool], audit=audit).call(ToolCall(name="echo", arguments={"text": "a"}), HERE)
    assert tool.calls == []
    with pytest.raises(StorageError, match="choose another place"):
        JsonLinesAudit(tmp_path)


SECRETS = [
    "Authorization: Bearer abcdefgh12345678",
    "use sk-abcdefghijklmnop1234 please",
    "AKIA" + "ABCDEFGHIJKLMNOP",
    "https://ada:hunter2@example.org/x",
    "https://example.org/?a=1&api_key=hunter2&b=2",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
]
HIDDEN = [
    "abcdefgh12345678",
    "abcdefghijklmnop1234",
    "ABCDEFGHIJKLMNOP",
    "hunter2",
    "hunter2",
    "c2lnbmF0dXJl",
    "MIIEow",
]


@pytest.mark.parametrize(("text", "hidden"), list(zip(SECRETS, HIDDEN, strict=True)), ids=HIDDEN)
def test_texts_that_look_like_secrets_are_left_out(text: str, hidden: str) -> None:
    assert hidden in text
    for value in (text, [text], {"a": {"b": [text]}}):
        assert hidden not in json.dumps(redacted(value))
    assert REDACTED in redacted(text)


def test_values_whose_name_says_so_are_left_out() -> None:
    value = {"password": "x", "API-Key": 5, "nested": [{"db_token": "y", "city": "Bonn"}], "密码": "z", "secret": None}
    assert redacted(value) == {
        "password": REDACTED,
        "API-Key": REDACTED,
        "nested": [{"db_token": REDACTED, "city": "Bonn"}],
        "密码": REDACTED,
        "secret": None,
    }
    assert redacted(SecretStr("x")) == REDACTED


def test_harmless_texts_stay() -> None:
    for text in ("ask-a-friend about the basic idea", "12:30@noon", "skating", "三千五百", "x = y; z"):
        assert redacted(text) == text
    assert redacted("a" * 3000) == "a" * 2000 + "…[3000 characters]"
    deep: Any = "x"
    for _ in range(100):
        deep = [deep]
    assert REDACTED in json.dumps(redacted(deep))


async def test_arguments_are_written_without_secrets(tmp_path: Path) -> None:
    audit = JsonLinesAudit(tmp_path / "audit.jsonl")
    call = ToolCall(name="echo", arguments={"text": "Bearer abcdefgh12345678", "password": "hunter2"})
    await Toolbox([EchoTool()], audit=audit).call(call, HERE)
    audit.close()
    written = audit.path.read_text()
    assert "abcdefgh12345678" not in written
    assert "hunter2" not in written
    assert "password" in written
