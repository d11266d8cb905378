"""Every built-in tool passes LangChain's standard tests, through a toolbox."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from moesaic.retrieval import Passage
from moesaic.tools import Tool, Toolbox, ToolContext
from moesaic.tools.builtin import (
    Calculator,
    DateTime,
    KnowledgeLookup,
    PageReader,
    PythonProgram,
    ReadOnlyDatabase,
    SqlQuery,
    WebSearch,
)
from moesaic.tools.langchain_tool import as_langchain
from moesaic.tools.search import SearchEngine, SearchResult, StaticSearch
from tests.tools.builtin.test_sources import Ended, ScriptedFetcher, ScriptedRunner


class OnePassage:
    """A base that holds one passage."""

    async def asearch(self, query: str, k: int = 8) -> list[Passage]:
        text = "Leaves are green."
        return [
            Passage(
                document_id="leaves.txt",
                title="Leaves",
                heading_path=(),
                start=0,
                end=len(text),
                text=text,
                score=1.0,
                vector_rank=1,
                lexical_rank=None,
                vector_similarity=0.9,
                lexical_score=0.0,
            )
        ]


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shop") / "shop.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER, amount REAL)")
    connection.close()
    return path


def web() -> WebSearch:
    result = SearchResult(title="T", url="https://example.org/", snippet="s", rank=1, provider="static")
    return WebSearch(SearchEngine([StaticSearch(default=[result])]))


EXAMPLES: dict[str, tuple[Any, dict[str, Any]]] = {
    "calculator": (Calculator, {"expression": "1/3 + 1/6"}),
    "date_time": (DateTime, {"operation": "add", "date": "2024-01-31", "amount": 1, "unit": "month"}),
    "knowledge": (lambda: KnowledgeLookup(OnePassage()), {"query": "leaves", "count": 2}),
    "web_search": (web, {"query": "leaves"}),
    "read_page": (lambda: PageReader(ScriptedFetcher()), {"url": "https://example.org/", "start": 2}),
    "python": (lambda: PythonProgram(ScriptedRunner(Ended(42))), {"program": "6 * 7"}),
    "sql": (None, {"sql": "SELECT ?", "parameters": [1]}),
}


class _EveryTool:
    """Runs the tests of a suite for each tool in turn."""

    _lent: BaseTool
    _example: dict[str, Any]

    @property
    def tool_constructor(self) -> BaseTool:
        return self._lent

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return dict(self._example)

    @pytest.fixture(autouse=True, params=list(EXAMPLES))
    def each(self, request: pytest.FixtureRequest, shop: Path) -> None:
        make, example = EXAMPLES[request.param]
        tool: Tool[Any] = SqlQuery(ReadOnlyDatabase.open(shop)) if make is None else make()
        assert tool.name == request.param
        self._lent = as_langchain(tool, Toolbox([tool]), ToolContext.here())
        self._example = example


class TestUnit(_EveryTool, ToolsUnitTests):
    pass


class TestIntegration(_EveryTool, ToolsIntegrationTests):
    def test_the_example_works(self, tool: BaseTool) -> None:
        message = tool.invoke(
            {"name": tool.name, "args": self.tool_invoke_params_example, "id": "1", "type": "tool_call"}
        )
        assert message.status == "success"
        assert message.artifact["result"]["artifact"]
