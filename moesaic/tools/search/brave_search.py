"""Brave's web search API: `GET /res/v1/web/search`, with a key.

Not verified live: tested against a server of this project that speaks the same API.
"""

import httpx

from moesaic.tools.page.budget import SearchBudget
from moesaic.tools.search.api_key import ApiKey
from moesaic.tools.search.json_api import JsonApi
from moesaic.tools.search.provider import Capabilities
from moesaic.tools.search.query import SearchQuery, TimeRange
from moesaic.tools.search.result import SearchResult

__all__ = ["BRAVE_ENDPOINT", "BraveSearch"]

BRAVE_ENDPOINT = "https://api.search.brave.com/res/v1/web/search"
"""Where Brave is asked."""

_FRESHNESS = {TimeRange.DAY: "pd", TimeRange.WEEK: "pw", TimeRange.MONTH: "pm", TimeRange.YEAR: "py"}
_LANGUAGES = {"zh": "zh-hans", "zh-CN": "zh-hans", "zh-TW": "zh-hant", "zh-HK": "zh-hant", "ja": "jp"}


class BraveSearch:
    """Brave.

    Args:
        key: the key; see `ApiKey.find`.
        endpoint: where it is asked.
        transport: what carries requests, such as a `Recording`.

    Raises:
        InputError: the endpoint is no https address.
    """

    def __init__(
        self, key: ApiKey, *, endpoint: str = BRAVE_ENDPOINT, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._api = JsonApi(self.name, endpoint, key=key, transport=transport)
        self._key = key

    name = "brave"
    capabilities = Capabilities(
        max_results=20, max_characters=400, languages=True, time_ranges=True, strict_safety=True
    )

    @property
    def identity(self) -> str:
        """Name and endpoint."""
        return f"{self.name} {self._api.endpoint}"

    async def search(
        self, query: SearchQuery, *, timeout_s: float = 10.0, budget: SearchBudget | None = None
    ) -> list[SearchResult]:
        """Ask Brave; see `SearchProvider`."""
        parameters = {
            "q": query.text,
            "count": str(min(query.count, self.capabilities.max_results)),
            "safesearch": query.safety.value,
            "text_decorations": "false",
        }
        if query.spoken is not None:
            parameters["search_lang"] = _LANGUAGES.get(query.spoken, query.spoken.lower())
        if query.time_range is not None:
            parameters["freshness"] = _FRESHNESS[query.time_range]
        found = await self._api.ask(
            parameters=parameters,
            headers={"X-Subscription-Token": self._key.reveal()},
            timeout_s=timeout_s,
            budget=budget,
        )
        return self._api.results_in(
            found, "web", "results", snippet="description", published="page_age", count=query.count
        )
