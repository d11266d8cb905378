"""SearXNG, a search engine that one runs oneself; it asks many others.

Source: its search API, docs.searxng.org/dev/search_api.
Its settings must allow JSON (`search.formats: [html, json]`); it answers 403 otherwise.

Not verified live: tested against a server of this project that speaks the same API.
"""

import httpx

from moesaic.errors import SearchProviderError
from moesaic.tools.page.budget import SearchBudget
from moesaic.tools.search.json_api import JsonApi
from moesaic.tools.search.provider import Capabilities
from moesaic.tools.search.query import Safety, SearchQuery
from moesaic.tools.search.result import SearchResult

__all__ = ["SearxngSearch"]

_SAFETY = {Safety.OFF: "0", Safety.MODERATE: "1", Safety.STRICT: "2"}


class SearxngSearch:
    """An instance of SearXNG.

    Args:
        url: where it is, such as http://127.0.0.1:8888.
        transport: what carries requests, such as a `Recording`.

    Raises:
        InputError: `url` is no address.
    """

    def __init__(self, url: str, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._api = JsonApi(self.name, f"{url.rstrip('/')}/search", key=None, transport=transport)

    name = "searxng"
    capabilities = Capabilities(
        max_results=50, max_characters=2000, languages=True, time_ranges=True, strict_safety=True
    )

    @property
    def identity(self) -> str:
        """Name and instance."""
        return f"{self.name} {self._api.endpoint}"

    async def search(
        self, query: SearchQuery, *, timeout_s: float = 10.0, budget: SearchBudget | None = None
    ) -> list[SearchResult]:
        """Ask the instance; see `SearchProvider`."""
        parameters = {"q": query.text, "format": "json", "safesearch": _SAFETY[query.safety]}
        if query.spoken is not None:
            parameters["language"] = "zh-CN" if query.spoken == "zh" else query.spoken
        if query.time_range is not None:
            parameters["time_range"] = query.time_range
        found = await self._api.ask(parameters=parameters, timeout_s=timeout_s, budget=budget)
        results = self._api.results_in(
            found, "results", snippet="content", published="publishedDate", count=query.count
        )
        if not results and found.get("unresponsive_engines"):
            raise SearchProviderError(
                f"{self.name}: none of its engines answered ({str(found['unresponsive_engines'])[:200]})",
                provider=self.name,
            )
        return results
