"""The protocol that every search engine meets."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from moesaic.tools.page.budget import SearchBudget
from moesaic.tools.search.query import Safety, SearchQuery
from moesaic.tools.search.result import SearchResult

__all__ = ["Capabilities", "SearchProvider"]


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a provider can do. What it cannot is never left out in silence: it is not asked such queries."""

    max_results: int
    """Most results of one query; who asks for more gets these."""
    max_characters: int
    """Longest query."""
    languages: bool
    """Whether results can be asked for in a language."""
    time_ranges: bool
    """Whether results can be bounded by age."""
    strict_safety: bool
    """Whether pages for adults can be left out."""
    is_local: bool = False
    """Whether it answers from this machine: then its answers are not cached, and cost no query of a budget."""
    is_verified_live: bool = False
    """Whether the project has seen it answer over the real network."""

    def why_not(self, query: SearchQuery) -> str:
        """What of a query is beyond it; empty if nothing is."""
        if len(query.text) > self.max_characters:
            return f"the query has {len(query.text)} characters, it takes {self.max_characters}"
        if query.language is not None and not self.languages:
            return "it cannot be asked for a language"
        if query.time_range is not None and not self.time_ranges:
            return "it cannot bound the age of results"
        if query.safety is Safety.STRICT and not self.strict_safety:
            return "it cannot leave out pages for adults"
        return ""


@runtime_checkable
class SearchProvider(Protocol):
    """A search engine."""

    @property
    def name(self) -> str:
        """What results and reasons call it."""

    @property
    def identity(self) -> str:
        """Name and settings that its answers depend on, without secrets: what the cache tells providers apart by."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""

    async def search(
        self, query: SearchQuery, *, timeout_s: float = 10.0, budget: SearchBudget | None = None
    ) -> list[SearchResult]:
        """The results of a query, best first, at most `query.count`; none if it knows none.

        Args:
            query: it, within the provider's capabilities.
            timeout_s: longest time; what is open then is closed.
            budget: what the caller's request may still receive. Queries are counted by the engine above.

        Raises:
            SearchRateLimitedError: it wants no more queries for a while.
            SearchProviderError: it failed.
            SearchBudgetError: the budget is spent.
        """
