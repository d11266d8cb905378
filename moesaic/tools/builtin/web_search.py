"""`WebSearch`: what search engines find, numbered, with addresses to be cited or read."""

from typing import TYPE_CHECKING, Protocol

from pydantic import Field

from moesaic.tools.search.query import SearchQuery
from moesaic.tools.tool import Tool, ToolArguments
from moesaic.tools.tool_context import ToolContext
from moesaic.tools.tool_result import ToolCitation, ToolResult

if TYPE_CHECKING:
    from moesaic.tools.search import SearchOutcome

__all__ = ["Searcher", "WebSearch", "WebSearchArguments"]

_TIMEOUT_S = 25.0


class Searcher(Protocol):
    """What searches: `moesaic.tools.search.SearchEngine`, or a double of it."""

    async def asearch(self, query: SearchQuery, *, timeout_s: float | None = None) -> "SearchOutcome":
        """What is found for a query."""
        ...


class WebSearchArguments(ToolArguments):
    """What is looked for."""

    query: str = Field(min_length=1, max_length=500, description="Keywords or a question, in any language")
    count: int = Field(default=5, ge=1, le=20, description="Most results")


class WebSearch(Tool[WebSearchArguments]):
    """Searches the web.

    Args:
        searcher: the search engine; whoever opened it closes it.
    """

    name = "web_search"
    description = "Search the web and get titles, addresses and excerpts, numbered, to be cited or read."
    description_zh = "搜索网络，得到编号的标题、网址和摘要，供引用或阅读。"
    arguments = WebSearchArguments
    text_argument = "query"
    idempotent = True

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher

    async def call(self, arguments: WebSearchArguments, context: ToolContext) -> ToolResult:
        """See `Tool.call`."""
        query = SearchQuery(text=arguments.query, count=arguments.count)
        outcome = await self._searcher.asearch(query, timeout_s=context.remaining_s(_TIMEOUT_S))
        found = outcome.results
        shown = [
            f"[{number}] {result.title}\n{result.url}\n{result.snippet}".rstrip()
            for number, result in enumerate(found, start=1)
        ]
        return ToolResult(
            content="\n\n".join(shown) or "nothing found; try other words",
            artifact={"provider": outcome.provider, "results": [result.to_json() for result in found]},
            citations=tuple(
                ToolCitation(source=result.url, title=result.title, quote=result.snippet) for result in found
            ),
        )
