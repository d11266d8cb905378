"""A knowledge base as a search engine: its passages are results, each with the exact span that it is."""

from urllib.parse import quote

from moesaic.errors import KnowledgeBaseError, SearchProviderError
from moesaic.retrieval import KnowledgeBase, Passage
from moesaic.tools.page.budget import SearchBudget
from moesaic.tools.search.provider import Capabilities
from moesaic.tools.search.query import SearchQuery
from moesaic.tools.search.result import PassageSpan, SearchResult

__all__ = ["KnowledgeSearch"]


class KnowledgeSearch:
    """Passages of one base.

    Args:
        base: the base; whoever opened it closes it.
        label: what results call it; its folder's name if not given.
        mode: which indexes are asked; see `moesaic.retrieval.SearchMode`.
    """

    def __init__(self, base: KnowledgeBase, *, label: str | None = None, mode: str = "hybrid") -> None:
        self._base, self._mode = base, mode
        self._label = label or base.folder.name

    capabilities = Capabilities(
        max_results=50,
        max_characters=2000,
        languages=False,
        time_ranges=False,
        strict_safety=True,
        is_local=True,
        is_verified_live=True,
    )

    @property
    def name(self) -> str:
        """`kb:` and the base's label."""
        return f"kb:{self._label}"

    @property
    def identity(self) -> str:
        """Name, folder and mode."""
        return f"{self.name} {self._base.folder} {self._mode}"

    async def search(
        self, query: SearchQuery, *, timeout_s: float = 10.0, budget: SearchBudget | None = None
    ) -> list[SearchResult]:
        """The passages that answer a query best; see `SearchProvider`. A search on this machine is not interrupted."""
        try:
            passages = await self._base.asearch(query.text, k=query.count, mode=self._mode)
        except KnowledgeBaseError as error:
            raise SearchProviderError(f"{self.name}: {error}", provider=self.name) from error

        return [self._result(passage, rank) for rank, passage in enumerate(passages, start=1)]

    def _result(self, passage: Passage, rank: int) -> SearchResult:
        title = passage.title or passage.document_id
        headings = [heading for heading in passage.heading_path if heading != title]
        place = f"{quote(self._label)}/{quote(passage.document_id)}?start={passage.start}&end={passage.end}"
        return SearchResult(
            title=" > ".join([title, *headings]),
            url=f"kb://{place}",
            snippet=passage.text,
            rank=rank,
            provider=self.name,
            score=passage.score,
            span=PassageSpan(self._label, passage.document_id, passage.start, passage.end),
        )
