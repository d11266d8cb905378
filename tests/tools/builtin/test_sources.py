"""Tools that reach for something: a knowledge base, a search engine, a page, a sandbox."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moesaic.retrieval import KnowledgeBase, ScriptedEmbedder, load_document
from moesaic.tools import CallStatus, Tool, Toolbox, ToolCall, ToolContext, ToolOutcome
from moesaic.tools.builtin import KnowledgeLookup, PageReader, PythonProgram, WebSearch
from moesaic.tools.page import Page
from moesaic.tools.sandbox import Sandbox
from moesaic.tools.search import SearchEngine, SearchResult, StaticSearch
from tests.tools.sandbox.processes import patient

HERE = ToolContext.here()
LEAVES = "叶子是绿色的。Leaves are green because of chlorophyll.\n"


async def called(tool: Tool[Any], context: ToolContext = HERE, **arguments: Any) -> ToolOutcome:
    return await Toolbox([tool]).call(ToolCall(name=tool.name, arguments=arguments), context)


async def test_passages_are_cited_exactly(tmp_path: Path) -> None:
    (tmp_path / "leaves.txt").write_text(LEAVES)
    with KnowledgeBase.create(tmp_path / "base", embedder=ScriptedEmbedder()) as base:
        base.add([load_document(tmp_path / "leaves.txt")])
        tool = KnowledgeLookup(base, holds="what is known of leaves")
        outcome = await called(tool, query="Leaves are green", count=2)
        assert outcome.result is not None
        (citation,) = outcome.result.citations
        assert base.text(citation.source)[citation.start : citation.end] == citation.quote
        assert outcome.content.startswith(f"[1] {citation.title} ({citation.source} {citation.start}-")
        assert "chlorophyll" in outcome.content
        assert "what is known of leaves" in tool.description
        assert "what is known of leaves" in tool.described("zh")
        blank = await called(tool, query="  ")
        assert blank.status is CallStatus.INVALID


async def test_results_are_cited_with_addresses() -> None:
    found = [
        SearchResult(title=f"T{rank}", url=f"https://example.org/{rank}", snippet="绿叶", rank=rank, provider="s")
        for rank in (1, 2)
    ]
    engine = SearchEngine([StaticSearch({"绿叶": found})])
    outcome = await called(WebSearch(engine), query="绿叶", count=1)
    assert outcome.content == "[1] T1\nhttps://example.org/1\n绿叶"
    assert outcome.result is not None
    assert [citation.source for citation in outcome.result.citations] == ["https://example.org/1"]
    assert outcome.result.artifact["results"][0]["rank"] == 1


class ScriptedFetcher:
    """Has one page."""

    page = Page(
        url="https://example.org/a",
        final_url="https://example.org/b",
        title="Letters",
        text="abcdefghij",
        truncated=True,
        published="",
        media_type="text/html",
        charset="utf_8",
        fetched_at="2024-03-05T00:00:00Z",
        sha256="0" * 64,
        byte_count=10,
    )

    async def afetch(self, url: str) -> Page:
        return replace(self.page, url=url)


async def test_pages_are_read_part_by_part() -> None:
    tool = PageReader(ScriptedFetcher(), characters=4)
    first = await called(tool, url="https://example.org/a")
    assert first.content == "Letters\nhttps://example.org/b\n\nabcd\n[the page goes on: start=4, 10 characters in all]"
    last = await called(tool, url="https://example.org/a", start=8)
    assert last.content.endswith("ij\n[the page is longer; the rest was not read]")
    assert last.result is not None
    citation = last.result.citations[0]
    assert (citation.source, citation.start, citation.end, citation.quote) == ("https://example.org/b", 8, 10, "ij")
    assert (await called(tool, url="https://example.org/a", start=10)).status is CallStatus.INVALID


class Ended:
    """What the sandbox gives."""

    def __init__(self, value: Any = None, *, status: str = "ok", error: Any = None, stdout: str = "") -> None:
        self.value, self.status, self.error, self.stdout, self.stderr = value, status, error, stdout, ""
        self.ok = status == "ok"


class Problem:
    """What a program raised."""

    type = "ZeroDivisionError"
    message = "division by zero"


class ScriptedRunner:
    """Gives one outcome, and keeps what it was asked."""

    def __init__(self, ended: Ended) -> None:
        self.asked: list[tuple[str, float | None]] = []
        self._ended = ended

    async def arun(self, program: str, *, timeout_s: float | None = None) -> Ended:
        self.asked.append((program, timeout_s))
        return self._ended


async def test_programs_give_values_and_prints() -> None:
    runner = ScriptedRunner(Ended(42, stdout="x" * 5000))
    outcome = await called(PythonProgram(runner, timeout_s=2), program="6 * 7")
    assert outcome.content.startswith("value: 42\nstdout:\nxxxx")
    assert outcome.content.endswith("[cut here: 4000 of 5000 characters]")
    assert outcome.result is not None
    assert (outcome.result.artifact["status"], outcome.result.artifact["value"]) == ("ok", 42)
    assert runner.asked == [("6 * 7", 2)]


async def test_a_program_that_fails_is_told_as_a_result() -> None:
    outcome = await called(PythonProgram(ScriptedRunner(Ended(status="error", error=Problem()))), program="1/0")
    assert (outcome.status, outcome.content) == (CallStatus.OK, "error: ZeroDivisionError: division by zero")


async def test_programs_run_in_the_real_sandbox() -> None:
    async with Sandbox(patient()) as sandbox:
        tool = PythonProgram(sandbox, timeout_s=60)
        outcome = await called(tool, program="print('你好')\ndef solution():\n    return sum(range(10))")
        assert outcome.content == "value: 45\nstdout:\n你好\n"
        failed = await called(tool, program="import os\n1 / 0")
        assert (failed.status, failed.content.split(":")[0]) == (CallStatus.OK, "error")
        assert "ZeroDivisionError" in failed.content


@pytest.mark.parametrize(("context", "ran"), [(ToolContext(), 0), (ToolContext(authenticated=True), 1), (HERE, 1)])
async def test_strangers_run_no_programs(context: ToolContext, ran: int) -> None:
    runner = ScriptedRunner(Ended(1))
    outcome = await called(PythonProgram(runner), context, program="1")
    assert (outcome.ok, len(runner.asked)) == (bool(ran), ran)
