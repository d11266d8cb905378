"""Tavily's search API: `POST /search`, with a key.

Not verified live: tested against a server of this project that speaks the same API.
"""

from typing import Any

import httpx

from moesaic.tools.page.budget import SearchBudget
from moesaic.tools.search.api_key import ApiKey
from moesaic.tools.search.json_api import JsonApi
from moesaic.tools.search.provider import Capabilities
from moesaic.tools.search.query import SearchQuery
from moesaic.tools.search.result import SearchResult

__all__ = ["TAVILY_ENDPOINT", "TavilySearch"]

TAVILY_ENDPOINT = "https://api.tavily.com/search"
"""Where Tavily is asked."""


class TavilySearch:
    """Tavily. It has no language of results; it answers in that of the question.

    Args:
        key: the key; see `ApiKey.find`.
        endpoint: where it is asked.
        transport: what carries requests, such as a `Recording`.

    Raises:
        InputError: the endpoint is no https address.
    """

    def __init__(
        self, key: ApiKey, *, endpoint: str = TAVILY_ENDPOINT, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._api = JsonApi(self.name, endpoint, key=key, transport=transport)
        self._key = key

    name = "tavily"
    capabilities = Capabilities(
        max_results=20, max_characters=400, languages=False, time_ranges=True, strict_safety=False
    )

    @property
    def identity(self) -> str:
        """Name and endpoint."""
        return f"{self.name} {self._api.endpoint}"

    async def search(
        self, query: SearchQuery, *, timeout_s: float = 10.0, budget: SearchBudget | None = None
    ) -> list[SearchResult]:
        """Ask Tavily; see `SearchProvider`."""
        content: dict[str, Any] = {
            "query": query.text,
            "max_results": min(query.count, self.capabilities.max_results),
            "search_depth": "basic",
            "include_answer": False,
            "include_raw_content": False,
        }
        if query.time_range is not None:
            content["time_range"] = query.time_range.value
        found = await self._api.ask(
            method="POST",
            content=content,
            headers={"Authorization": f"Bearer {self._key.reveal()}"},
            timeout_s=timeout_s,
            budget=budget,
        )
        return self._api.results_in(found, "results", snippet="content", published="published_date", count=query.count)
