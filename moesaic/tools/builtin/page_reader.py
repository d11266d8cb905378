"""`PageReader`: the readable text of a page of the web, part by part."""

from typing import TYPE_CHECKING, Protocol

from pydantic import Field

from moesaic.errors import ToolArgumentError
from moesaic.tools.tool import Tool, ToolArguments
from moesaic.tools.tool_context import ToolContext
from moesaic.tools.tool_result import ToolCitation, ToolResult

if TYPE_CHECKING:
    from moesaic.tools.page import Page

__all__ = ["Fetcher", "PageArguments", "PageReader"]


class Fetcher(Protocol):
    """What fetches pages: `moesaic.tools.page.PageFetcher`, or a double of it."""

    async def afetch(self, url: str) -> "Page":
        """Fetch a page."""
        ...


class PageArguments(ToolArguments):
    """Which page, and which part of it."""

    url: str = Field(min_length=1, max_length=2000, description="Address of the page, with http or https")
    start: int = Field(default=0, ge=0, le=10_000_000, description="Character to read on from")


class PageReader(Tool[PageArguments]):
    """Reads pages.

    Args:
        fetcher: keeps away from this network; whoever opened it closes it.
        characters: how many are given at once.
    """

    name = "read_page"
    description = "Read a page of the web as text; of a long page part by part, with start."
    description_zh = "以文本形式阅读一个网页；长网页可用 start 分段阅读。"
    arguments = PageArguments
    text_argument = "url"
    idempotent = True

    def __init__(self, fetcher: Fetcher, *, characters: int = 8000) -> None:
        self._fetcher = fetcher
        self._characters = characters

    async def call(self, arguments: PageArguments, context: ToolContext) -> ToolResult:
        """See `Tool.call`."""
        page = await self._fetcher.afetch(arguments.url)
        if arguments.start and arguments.start >= len(page.text):
            raise ToolArgumentError("start", f"{arguments.start} is behind the page's {len(page.text)} characters")
        end = min(len(page.text), arguments.start + self._characters)
        part = page.text[arguments.start : end]
        more = f"\n[the page goes on: start={end}, {len(page.text)} characters in all]" if end < len(page.text) else ""
        if not more and page.truncated:
            more = "\n[the page is longer; the rest was not read]"
        citation = ToolCitation(
            source=page.final_url, title=page.title, start=arguments.start, end=end, quote=part[:500]
        )
        return ToolResult(
            content=f"{page.title}\n{page.final_url}\n\n{part}{more}".lstrip(),
            artifact=page.to_json() | {"text": part, "start": arguments.start, "end": end},
            citations=(citation,),
        )
