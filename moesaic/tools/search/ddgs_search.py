"""`ddgs`: a metasearch package that needs no key; its former name `duckduckgo_search` will do where only that is there.

It reads the result pages that engines make for people. What follows from that:

- An engine that blocks it looks like one that found nothing. So does this provider then: the next one is asked.
- It brings its own HTTP client, in threads. A deadline ends the waiting at once, and bounds the client by its own
  timeout; an exchange that is open is closed by that, a moment later. Budgets of bytes do not count it, and a
  `Recording` does not see it.

Not verified live: tested at its interface, with its engine for DuckDuckGo reading pages from a server of this project.
`moesaic search --live-check` tries it on a machine that has a network.
"""

import asyncio
import functools
import importlib
import math
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

from moesaic.errors import MissingDependencyError, SearchProviderError, SearchRateLimitedError
from moesaic.tools.page.budget import SearchBudget
from moesaic.tools.search.provider import Capabilities
from moesaic.tools.search.query import Safety, SearchQuery, TimeRange
from moesaic.tools.search.result import SearchResult

__all__ = ["DdgsSearch"]

_PACKAGES = ("ddgs", "duckduckgo_search")
_THREADS = 4
_ANYWHERE = {"ddgs": "us-en", "duckduckgo_search": "wt-wt"}
_REGIONS = {
    "zh": "cn-zh",
    "zh-CN": "cn-zh",
    "zh-TW": "tw-tzh",
    "zh-HK": "hk-tzh",
    "en": "us-en",
    "en-GB": "uk-en",
    "de": "de-de",
    "es": "es-es",
    "fr": "fr-fr",
    "ja": "jp-jp",
    "ko": "kr-kr",
    "pt": "br-pt",
    "ru": "ru-ru",
}
_TIME_LIMITS = {TimeRange.DAY: "d", TimeRange.WEEK: "w", TimeRange.MONTH: "m", TimeRange.YEAR: "y"}
_SAFETY = {Safety.OFF: "off", Safety.MODERATE: "moderate", Safety.STRICT: "on"}
_NOTHING = "no results found"


class DdgsSearch:
    """What the package `ddgs` finds.

    Args:
        backend: which engines it asks, as the package names them: auto, or a list such as "duckduckgo, brave".

    Raises:
        MissingDependencyError: the package is installed under neither name.
    """

    def __init__(self, *, backend: str = "auto") -> None:
        self._package = _installed()
        self._backend = backend

    name = "ddgs"
    capabilities = Capabilities(
        max_results=50, max_characters=500, languages=True, time_ranges=True, strict_safety=True
    )

    @property
    def identity(self) -> str:
        """Name and engines."""
        return f"{self.name} {self._backend}"

    async def search(
        self, query: SearchQuery, *, timeout_s: float = 10.0, budget: SearchBudget | None = None
    ) -> list[SearchResult]:
        """Ask by way of the package; see `SearchProvider`."""
        if budget is not None:
            budget.check()
            timeout_s = min(timeout_s, budget.remaining_s)
        region = self._region(query)
        errors = self._package.exceptions
        work = functools.partial(self._ask, query, region, max(1, math.floor(timeout_s)))
        try:
            async with asyncio.timeout(timeout_s):
                found = await asyncio.get_running_loop().run_in_executor(_threads(), work)
        except (TimeoutError, errors.TimeoutException) as error:
            raise self._failure(f"no answer within {timeout_s:.3g} s") from error
        except errors.RatelimitException as error:
            raise SearchRateLimitedError(f"{self.name}: {str(error)[:200]}", provider=self.name) from error
        except Exception as error:
            # The package reads pages that change without notice, and lets whatever that causes through.
            if _NOTHING in str(error).lower():
                return []

            raise self._failure(f"{type(error).__name__}: {str(error)[:200]}") from error
        results = [
            SearchResult.of_web(
                title=entry.get("title"),
                url=entry.get("href"),
                snippet=entry.get("body"),
                rank=rank,
                provider=self.name,
            )
            for rank, entry in enumerate(found, start=1)
        ]
        return [result for result in results if result is not None][: query.count]

    def _ask(self, query: SearchQuery, region: str, timeout_s: int) -> list[dict[str, Any]]:
        client = self._package.DDGS(timeout=timeout_s)
        found: list[dict[str, Any]] = client.text(
            query.text,
            region=region,
            safesearch=_SAFETY[query.safety],
            timelimit=_TIME_LIMITS[query.time_range] if query.time_range else None,
            max_results=query.count,
            backend=self._backend,
        )
        return found

    def _region(self, query: SearchQuery) -> str:
        if query.spoken is None:
            return _ANYWHERE[self._package.__name__]

        region = _REGIONS.get(query.spoken) or _REGIONS.get(query.spoken.partition("-")[0])
        if region is None:
            raise self._failure(f"it knows no region for the language {query.spoken!r}, only {', '.join(_REGIONS)}")
        return region

    def _failure(self, reason: str) -> SearchProviderError:
        return SearchProviderError(f"{self.name}: {reason}", provider=self.name)


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """Threads of their own: an event loop that ends waits for its default ones, deadline or not."""
    return ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="moesaic-ddgs")


def _installed() -> ModuleType:
    for name in _PACKAGES:
        try:
            package = importlib.import_module(name)
            importlib.import_module(f"{name}.exceptions")
        except ImportError as error:
            missing = error
        else:
            return package
    raise MissingDependencyError(
        f"the search engine ddgs needs the package of that name ({missing}): pip install 'moesaic[tools]'"
    )
