"""Our tools over MCP and others' tools as ours: in process, and over the pipes of real programs."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError

from moesaic.errors import InputError, MissingDependencyError, ToolArgumentError, ToolError
from moesaic.retrieval import KnowledgeBase, ScriptedEmbedder, load_document
from moesaic.tools import CallStatus, MemoryAudit, Toolbox, ToolCall, ToolContext, ToolResult
from moesaic.tools.builtin import Calculator
from moesaic.tools.langchain_tool import langchain_tools
from moesaic.tools.mcp import RemoteTool, mcp_server, remote_tools, stdio_command
from tests.cli.running import refusal
from tests.repository import ROOT
from tests.tools.page.lab import answer, lab, page_of
from tests.tools.scripted_tools import EchoArguments, EchoTool
from tests.tools.search.web_engines import Index, searxng

HERE = ToolContext.here()
OTHER = Path(__file__).parent / "other_server.py"
PATIENCE_S = 120.0
"""Time for programs that must come up and answer: on a busy machine their imports alone take many seconds."""


START = "from moesaic.cli import main; main()"
PATIENT_START = f"""
from moesaic.tools.page import FetchOptions
from moesaic.tools.search import EngineOptions
FetchOptions.__init__.__kwdefaults__.update(timeout_s={PATIENCE_S}, reading_timeout_s={PATIENCE_S})
EngineOptions.__init__.__kwdefaults__.update(timeout_s={PATIENCE_S}, provider_timeout_s={PATIENCE_S})
{START}
"""
"""Where the web is asked: its usual limits are short for a busy machine, and no option of the program's."""


def our_program(*words: str, start: str = START, **environment: str) -> Any:
    """`moesaic mcp serve` as a host would start it."""
    return stdio_command(
        sys.executable, "-c", start, "mcp", "serve", *words, environment={"PYTHONPATH": str(ROOT), **environment}
    )


@asynccontextmanager
async def others(**options: Any) -> AsyncIterator[dict[str, RemoteTool]]:
    async with remote_tools(stdio_command(sys.executable, str(OTHER)), **options) as tools:
        yield {tool.name: tool for tool in tools}


async def test_our_toolbox_in_process() -> None:
    audit = MemoryAudit()
    box = Toolbox([Calculator(), EchoTool(executes_programs=True)], audit=audit)
    async with Client(mcp_server(box, ToolContext(tenant="host"))) as client:
        listed = (await client.list_tools()).tools
        assert [tool.name for tool in listed] == ["calculator"]  # no programs for strangers
        assert listed[0].input_schema["properties"]["expression"]["maxLength"] == 1000
        done = await client.call_tool("calculator", {"expression": "三千五百 / 7"})
        assert (done.content[0].text, done.is_error) == ("500", False)  # type: ignore[union-attr]
        assert done.structured_content["artifact"]["exact"] is True
        for name, arguments, said in (
            ("calculator", {"expression": "1/0"}, "division by zero"),
            ("calculator", {"expresion": "1"}, "needs it|no such argument"),
            ("echo", {"text": "x"}, "executes programs"),
        ):
            failed = await client.call_tool(name, arguments)
            assert failed.is_error
            assert any(part in failed.content[0].text for part in said.split("|"))  # type: ignore[union-attr]
    assert {entry.tenant for entry in audit.entries} == {"host"}
    assert len(audit.entries) == 8


async def test_foreign_text_is_cleaned_on_the_way_out() -> None:
    class Page(EchoTool):
        async def call(self, arguments: EchoArguments, context: ToolContext) -> ToolResult:
            return ToolResult(content="a <|im_end|> b")

    async with Client(mcp_server(Toolbox([Page()]), HERE)) as client:
        done = await client.call_tool("echo", {"text": "x"})
    assert done.content[0].text == "a ⟨im_end⟩ b"  # type: ignore[union-attr]


async def test_the_program_serves_over_its_pipes(tmp_path: Path) -> None:
    (tmp_path / "leaves.txt").write_text("Leaves are green because of chlorophyll.\n")
    with KnowledgeBase.create(tmp_path / "home" / "demo", embedder=ScriptedEmbedder()) as base:
        base.add([load_document(tmp_path / "leaves.txt")])
    (tmp_path / "sales.csv").write_text("city,amount\nBonn,3\nKöln,4\n")
    audit = tmp_path / "audit.jsonl"
    program = our_program(
        *("--kb", "demo", "--base", str(tmp_path / "home"), "--csv", f"sales={tmp_path / 'sales.csv'}"),
        *("--audit", str(audit)),
    )
    async with asyncio.timeout(PATIENCE_S), remote_tools(program) as tools:
        assert [tool.name for tool in tools] == ["calculator", "date_time", "knowledge", "tables"]
        box = Toolbox(tools)
        for name, arguments, said in (
            ("calculator", {"expression": "5 miles to km"}, "8.04672 km"),
            ("date_time", {"date": "2024年3月5日"}, "Tuesday"),
            ("tables", {"sql": "SELECT sum(amount) FROM sales"}, "7"),
            ("knowledge", {"query": "green leaves"}, "chlorophyll"),
        ):
            outcome = await box.call(ToolCall(name=name, arguments=arguments), HERE)
            assert outcome.ok, outcome
            assert said in outcome.content
    entries = [json.loads(line) for line in audit.read_text().splitlines()]
    assert [(entry["event"], entry["tenant"]) for entry in entries] == [("begun", "local"), ("ended", "local")] * 4


async def test_the_program_searches_and_reads(tmp_path: Path) -> None:
    index = Index(tmp_path / "index")
    text = "A mixture of experts sends each token to few of them. " * 8
    routes = {"/search": searxng(index), "/a": answer(page_of("Experts", text))}
    with contextlib.closing(index.base), lab(routes) as web:
        program = our_program(
            *("--search", "searxng", "--pages", "--allow", f"127.0.0.1:{web.port}"),
            start=PATIENT_START,
            SEARXNG_URL=f"http://127.0.0.1:{web.port}",
        )
        async with asyncio.timeout(PATIENCE_S), remote_tools(program) as tools:
            assert [tool.name for tool in tools] == ["calculator", "date_time", "web_search", "read_page"]
            box = Toolbox(tools)
            found = await box.call(ToolCall(name="web_search", arguments={"query": "mixture of experts"}), HERE)
            assert found.ok, found
            assert "[1] " in found.content
            address = web.url("/a", host="127.0.0.1")
            read = await box.call(ToolCall(name="read_page", arguments={"url": address}), HERE)
            assert "sends each token to few of them" in read.content
            private = await box.call(ToolCall(name="read_page", arguments={"url": "http://127.0.0.1:1/"}), HERE)
            assert not private.ok


async def test_a_program_that_cannot_serve_says_why() -> None:
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(ToolError, match="cannot be reached"):
            async with remote_tools(our_program("--csv", "nonsense")):
                raise AssertionError
        with pytest.raises(ToolError, match="cannot be reached"):
            async with remote_tools(stdio_command("/nowhere/at/all")):
                raise AssertionError
    command = [sys.executable, "-c", "from moesaic.cli import main; main()", "mcp", "serve", "--csv", "nonsense"]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=PATIENCE_S, cwd=ROOT
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "must be NAME=FILE" in done.stderr
    assert "add --pages" in refusal(2, "mcp", "serve", "--allow", "127.0.0.1:80")
    assert "engines: 'altavista' is unknown" in refusal(2, "mcp", "serve", "--search", "altavista")


async def test_tools_of_another_server() -> None:
    async with asyncio.timeout(PATIENCE_S), others(prefix="o") as tools:
        assert sorted(tools) == ["o_add", "o_die", "o_evil_tool", "o_fail", "o_variable"]
        box = Toolbox(tools.values())
        outcome = await box.call(ToolCall(name="o_add", arguments={"a": 2, "b": 3}), HERE)
        assert (outcome.content, outcome.ok) == ("5", True)
        (lent,) = [tool for tool in langchain_tools(box, HERE) if tool.name == "o_add"]
        assert await lent.ainvoke({"a": 1, "b": 1}) == "2"
        failed = await box.call(ToolCall(name="o_fail", arguments={"reason": "rain"}), HERE)
        assert (failed.status, failed.foreign) == (CallStatus.FAILED, True)
        assert "rain" in failed.content


async def test_what_another_server_says_cannot_act() -> None:
    async with asyncio.timeout(PATIENCE_S), others(only=["evil.tool"]) as tools:
        evil = tools["evil_tool"]
        assert "<|" not in evil.description
        assert "[[" not in evil.description
        assert evil.gives_foreign_text
        assert not evil.idempotent


async def test_arguments_are_checked_before_they_leave() -> None:
    async with asyncio.timeout(PATIENCE_S), others() as tools:
        for arguments, said in (
            ({"a": 1}, "b: add needs it"),
            ({"a": 1, "b": 2, "c": 3}, "c: add has no such argument; its arguments: a, b"),
            ({"a": "x", "b": 2}, "'x' is no integer"),
            ({"a": True, "b": 2}, "True is no integer"),
        ):
            with pytest.raises(ToolArgumentError, match=said):
                tools["add"].read(arguments)


async def test_a_server_that_dies_is_an_error_and_no_hang() -> None:
    async with asyncio.timeout(PATIENCE_S), others() as tools:
        for tool in tools.values():
            tool.timeout_s = 10  # of the calls alone: the server has time to come up
        box = Toolbox(tools.values())
        for name, arguments in (("die", {}), ("add", {"a": 1, "b": 2})):
            outcome = await box.call(ToolCall(name=name, arguments=arguments), HERE)
            assert outcome.status in (CallStatus.FAILED, CallStatus.TIMED_OUT)


async def test_a_server_does_not_get_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOESAIC_TOKEN", "secret")
    async with asyncio.timeout(PATIENCE_S), others(only=["variable"]) as tools:
        outcome = await Toolbox(tools.values()).call(
            ToolCall(name="variable", arguments={"name": "MOESAIC_TOKEN"}), HERE
        )
        assert outcome.content == "not set"


async def test_what_the_operator_says_counts() -> None:
    async with asyncio.timeout(PATIENCE_S), others(only=["add"], needs_approval=True, executes_programs=True) as tools:
        box = Toolbox(tools.values())
        assert box.offered(ToolContext()) == []
        outcome = await box.call(ToolCall(name="add", arguments={"a": 1, "b": 2}), HERE)
        assert (outcome.status, "approval" in outcome.content) == (CallStatus.REFUSED, True)
    with pytest.raises(InputError, match="no tool 'subtract'"):
        async with others(only=["subtract"]):
            raise AssertionError


async def test_another_loop_is_told_so() -> None:
    async with asyncio.timeout(PATIENCE_S), others(only=["add"]) as tools:
        call = tools["add"].call({"a": 1, "b": 2}, HERE)
        with pytest.raises(ToolError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, call)


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp_types", None)
    with pytest.raises(MissingDependencyError, match=r"moesaic\[tools\]"):
        mcp_server(Toolbox([]), HERE)


def test_the_sdk_has_what_we_catch() -> None:
    assert issubclass(MCPError, Exception)
