"""`KnowledgeLookup`: passages of a knowledge base, numbered, with the exact spans that they are."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from pydantic import Field

from moesaic.tools.tool import Tool, ToolArguments
from moesaic.tools.tool_context import ToolContext
from moesaic.tools.tool_result import ToolCitation, ToolResult

if TYPE_CHECKING:
    from moesaic.retrieval import Passage

__all__ = ["KnowledgeArguments", "KnowledgeLookup", "PassageSource"]


class PassageSource(Protocol):
    """What has passages: `moesaic.retrieval.KnowledgeBase`, or a double of it."""

    async def asearch(self, query: str, k: int = 8) -> "Sequence[Passage]":
        """The best `k` passages for a query."""
        ...


class KnowledgeArguments(ToolArguments):
    """What is looked for."""

    query: str = Field(min_length=1, max_length=1000, description="A question or keywords, in any language")
    count: int = Field(default=4, ge=1, le=20, description="How many passages")


class KnowledgeLookup(Tool[KnowledgeArguments]):
    """Searches one knowledge base.

    Args:
        base: where to search; whoever opened it closes it.
        holds: what the base is about, for the description.
    """

    name = "knowledge"
    arguments = KnowledgeArguments
    text_argument = "query"
    idempotent = True

    def __init__(self, base: PassageSource, *, holds: str = "the documents of this service") -> None:
        self._base = base
        self.description = f"Search {holds} and get the passages that fit best, numbered, to be cited."
        self.description_zh = f"在知识库（{holds}）中检索，得到编号的相关段落，供引用。"

    async def call(self, arguments: KnowledgeArguments, context: ToolContext) -> ToolResult:
        """See `Tool.call`."""
        found = await self._base.asearch(arguments.query, k=arguments.count)
        citations = tuple(
            ToolCitation(
                source=passage.document_id,
                title=passage.title,
                start=passage.start,
                end=passage.end,
                quote=passage.text,
            )
            for passage in found
        )
        shown = [
            f"[{number}] {passage.title} ({passage.document_id} {passage.start}-{passage.end})\n{passage.text}"
            for number, passage in enumerate(found, start=1)
        ]
        return ToolResult(
            content="\n\n".join(shown) or "nothing found; try other words",
            artifact={"passages": [passage.to_json() for passage in found]},
            citations=citations,
        )
