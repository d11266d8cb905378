"""`StaticSearch`: the double of a search engine, for tests, examples and benchmarks. It asks nobody."""

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence

from moesaic.tools.page.budget import SearchBudget
from moesaic.tools.search.provider import Capabilities
from moesaic.tools.search.query import SearchQuery
from moesaic.tools.search.result import SearchResult

__all__ = ["StaticSearch"]


class StaticSearch:
    """Answers that were written beforehand.

    Args:
        answers: results for the text of a query, as it is normalized.
        default: results for every other query.
        failures: errors that the first queries meet, one each, before anything is answered.
        delay_s: how long each answer takes.
        name: what results and reasons call it; results that were written under another name are renamed.
        capabilities: what it can do; everything if not given.
    """

    def __init__(
        self,
        answers: Mapping[str, Sequence[SearchResult]] | None = None,
        *,
        default: Sequence[SearchResult] = (),
        failures: Sequence[Exception] = (),
        delay_s: float = 0.0,
        name: str = "static",
        capabilities: Capabilities | None = None,
    ) -> None:
        self._answers = {SearchQuery(text=text).text: results for text, results in (answers or {}).items()}
        self._default = default
        self._failures = list(failures)
        self._delay_s = delay_s
        self.name = name
        self.capabilities = capabilities or Capabilities(
            max_results=50,
            max_characters=2000,
            languages=True,
            time_ranges=True,
            strict_safety=True,
            is_verified_live=True,
        )
        self.queries: list[SearchQuery] = []
        """What it was asked, in order."""

    @property
    def identity(self) -> str:
        """Its name."""
        return self.name

    async def search(
        self, query: SearchQuery, *, timeout_s: float = 10.0, budget: SearchBudget | None = None
    ) -> list[SearchResult]:
        """The next failure, or the answer; see `SearchProvider`."""
        self.queries.append(query)
        if self._delay_s > 0:
            await asyncio.sleep(self._delay_s)
        if self._failures:
            raise self._failures.pop(0)

        found = self._answers.get(query.text, self._default)[: query.count]
        return [
            dataclasses.replace(result, provider=self.name, rank=rank) for rank, result in enumerate(found, start=1)
        ]
