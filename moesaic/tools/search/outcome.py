"""What a search came to: the results, and how it came to them."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from moesaic.tools.search.query import SearchQuery
from moesaic.tools.search.result import SearchResult

__all__ = ["ProviderAttempt", "SearchOutcome"]


class ProviderAttempt(NamedTuple):
    """A provider that did not give the answer, and why."""

    provider: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class SearchOutcome:
    """The answer to one query."""

    query: SearchQuery
    """What was asked, as it was sent."""
    results: tuple[SearchResult, ...]
    """Best first, each page once; empty if no provider knows any."""
    provider: str
    """Who answered."""
    is_cached: bool
    """Whether the answer was remembered from an earlier query."""
    attempts: tuple[ProviderAttempt, ...]
    """Who was to be asked before, in order, and why they did not answer."""

    def to_json(self) -> dict[str, Any]:
        """The outcome as plain JSON values."""
        return {
            "query": self.query.text,
            "provider": self.provider,
            "is_cached": self.is_cached,
            "attempts": [attempt._asdict() for attempt in self.attempts],
            "results": [result.to_json() for result in self.results],
        }
