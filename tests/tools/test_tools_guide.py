"""The guide to tools does what it shows: its Python blocks run, against a real server where they ask a model."""

import asyncio
import json
from pathlib import Path

import pytest

from moesaic.retrieval import KnowledgeBase, ScriptedEmbedder, load_document
from moesaic.server.engine import GenerateRequest, ScriptedEngine
from moesaic.tools import Toolbox, ToolCall, ToolContext
from tests import documents
from tests.chains.scripted_model import prompt_of
from tests.chains.served import served
from tests.repository import ROOT

CALL = '<tool_call>\n{"name": "calculator", "arguments": {"expression": "42.195 km to miles"}}\n</tool_call>'


def reply(request: GenerateRequest) -> str:
    return "About 26.2 miles." if "\ntool: " in prompt_of(request) else CALL


async def test_the_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("A marathon is long.\n")
    with KnowledgeBase.create(tmp_path / "home" / "guide", embedder=ScriptedEmbedder()) as base:
        base.add([load_document(tmp_path / "a.txt")])
    monkeypatch.setenv("MOESAIC_KB_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    question, own_tool, others = documents.code_blocks((ROOT / "docs/tools.md").read_text("utf-8"), "python")
    with served(ScriptedEngine(reply, context_length=65536)) as target:
        # The guide is written for plain programs, which have no loop that runs already.
        code = compile(question.replace("127.0.0.1:50051", target), "tools.md", "exec")
        await asyncio.to_thread(exec, code, {"__name__": "docs.tools"})
    assert "About 26.2 miles. ['" in capsys.readouterr().out
    assert json.loads((tmp_path / "audit.jsonl").read_text().splitlines()[1])["tenant"] == "acme"

    scope: dict[str, object] = {"__name__": "docs.tools"}
    for block in (own_tool, others):
        exec(compile(block, "tools.md", "exec"), scope)
    box = Toolbox([scope["Stock"]()])  # type: ignore[operator]
    for article, ok in (("AB1234", True), ("12", False)):
        outcome = await box.call(ToolCall(name="stock", arguments={"article": article}), ToolContext())
        assert outcome.ok is ok
