"""`SearchEngine`: one query to several providers, each asked only if those before it did not answer.

For each provider in order: a remembered answer is given at once; one that wants to be left alone is left alone; one
that cannot do what the query asks for is passed over; the others are asked. Errors and empty answers lead to the next.
Why each did not answer is kept, and told if nobody does. If all that is left is to wait for a provider that said when
it may be asked again, and that is soon, it is waited for, once.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from moesaic.errors import InputError, SearchError, SearchProviderError, SearchRateLimitedError
from moesaic.tools.page.blocking import run_blocking
from moesaic.tools.page.budget import SearchBudget
from moesaic.tools.search.backoff import Backoff
from moesaic.tools.search.cache import ResultCache
from moesaic.tools.search.duplicates import without_duplicates
from moesaic.tools.search.outcome import ProviderAttempt, SearchOutcome
from moesaic.tools.search.provider import SearchProvider
from moesaic.tools.search.query import SearchQuery
from moesaic.tools.search.result import SearchResult

__all__ = ["EngineOptions", "SearchEngine"]

_NOTHING = "it found nothing"


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Bounds of searches.

    Raises:
        InputError: a value is out of its range.
    """

    timeout_s: float = 15.0
    """Longest time of a search, over all providers."""
    provider_timeout_s: float = 8.0
    """Longest time of one provider, so that the next one still has some."""
    first_backoff_s: float = 2.0
    """How long a provider is left alone that wants it and does not say how long; doubled each time."""
    max_backoff_s: float = 600.0
    """Longest that a provider is left alone, whatever it says."""
    max_wait_s: float = 5.0
    """Longest wait for a provider that may be asked again soon, when there is no other."""

    def __post_init__(self) -> None:
        for name, low in (
            ("timeout_s", 0.01),
            ("provider_timeout_s", 0.01),
            ("first_backoff_s", 0.001),
            ("max_backoff_s", 0.001),
            ("max_wait_s", 0),
        ):
            value = getattr(self, name)
            if not math.isfinite(value) or not low <= value <= 86400:
                raise InputError(f"{name}={value!r} must be {low} to 86400")


class _Search:
    """What is known about one search while it goes on."""

    def __init__(self, query: SearchQuery, deadline: float, budget: SearchBudget | None) -> None:
        self.query, self.deadline, self.budget = query, deadline, budget
        self.attempts: list[ProviderAttempt] = []
        self.has_answer = False
        self.waiting: list[SearchProvider] = []

    def note(self, provider: SearchProvider, reason: str) -> None:
        # Errors name their provider, for those who see them alone; beside its name that would be twice.
        self.attempts.append(ProviderAttempt(provider.name, reason.removeprefix(f"{provider.name}: ")))


class SearchEngine:
    """Searches by way of providers. Threads and event loops may share one; `close` it, or use it in a `with` block.

    Args:
        providers: whom to ask, in this order.
        options: bounds.
        cache: remembers answers; without it every query is sent.
        resources: what is closed with the engine.
        clock: seconds that never go back.
        sleep: waits.

    Raises:
        InputError: there is no provider, or two have one name.
    """

    def __init__(
        self,
        providers: Sequence[SearchProvider],
        options: EngineOptions | None = None,
        *,
        cache: ResultCache | None = None,
        resources: ExitStack | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        names = [provider.name for provider in providers]
        if not names or len(set(names)) < len(names):
            raise InputError(f"providers={names!r} must be one or more, each of another name")

        self.providers = tuple(providers)
        self.options = options or EngineOptions()
        self._cache = cache
        self._resources = resources or ExitStack()
        self._clock, self._sleep = clock, sleep
        self._backoff = Backoff(first_s=self.options.first_backoff_s, longest_s=self.options.max_backoff_s, clock=clock)

    async def asearch(
        self, query: SearchQuery | str, *, budget: SearchBudget | None = None, timeout_s: float | None = None
    ) -> SearchOutcome:
        """Search.

        Args:
            query: what for; a text stands for a query with the default options.
            budget: what the caller's request may still spend.
            timeout_s: longest time, if shorter than that of the options.

        Raises:
            InputError: the query is blank or too long.
            SearchError: no provider answered; the message gives each one's reason.
            SearchBudgetError: the budget is spent.
        """
        asked = SearchQuery(text=query) if isinstance(query, str) else query
        longest_s = self.options.timeout_s if timeout_s is None else min(timeout_s, self.options.timeout_s)
        search = _Search(asked, self._clock() + longest_s, budget)
        if (outcome := await self._ask_all(search, self.providers)) is not None:
            return outcome

        if not search.has_answer and await self._waited(search):
            waiting, search.waiting = search.waiting, []
            if (outcome := await self._ask_all(search, waiting)) is not None:
                return outcome

        if not search.has_answer:
            if budget is not None:
                budget.check()
            reasons = "; ".join(f"{name}: {reason}" for name, reason in search.attempts)
            raise SearchError(f"no search engine answered {asked.text[:100]!r} ({reasons})")

        last = next(attempt.provider for attempt in reversed(search.attempts) if attempt.reason == _NOTHING)
        return self._outcome(search, last, [], is_cached=False)

    def search(
        self, query: SearchQuery | str, *, budget: SearchBudget | None = None, timeout_s: float | None = None
    ) -> SearchOutcome:
        """As `asearch`, for callers without an event loop."""
        return run_blocking(lambda: self.asearch(query, budget=budget, timeout_s=timeout_s))

    def close(self) -> None:
        """Close what was made for the engine: its cache and knowledge bases, if it comes from a `SearchConfig`."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _ask_all(self, search: _Search, providers: Sequence[SearchProvider]) -> SearchOutcome | None:
        for provider in providers:
            remembered = self._remembered(provider, search.query)
            if remembered is not None:
                return self._outcome(search, provider.name, remembered, is_cached=True)

            if results := await self._ask(search, provider):
                return self._outcome(search, provider.name, results, is_cached=False)
        return None

    async def _ask(self, search: _Search, provider: SearchProvider) -> list[SearchResult]:
        """The results of one provider; none, and a reason noted, if it has none to give."""
        left_s = self._left_s(search)
        if reason := provider.capabilities.why_not(search.query):
            search.note(provider, reason)
        elif (wait_s := self._backoff.wait_s(provider.name)) > 0:
            search.note(provider, f"it wants to be left alone for another {wait_s:.1f} s")
            search.waiting.append(provider)
        elif left_s <= 0:
            search.note(provider, "no time was left to ask it")
        else:
            if search.budget is not None and not provider.capabilities.is_local:
                search.budget.spend_query()
            return await self._results(search, provider, min(left_s, self.options.provider_timeout_s))
        return []

    async def _results(self, search: _Search, provider: SearchProvider, timeout_s: float) -> list[SearchResult]:
        try:
            async with asyncio.timeout(timeout_s):
                found = await provider.search(search.query, timeout_s=timeout_s, budget=search.budget)
        except SearchRateLimitedError as error:
            waits_s = self._backoff.refused(provider.name, error.retry_after_s)
            search.note(provider, f"{error}; left alone for {waits_s:.1f} s")
            search.waiting.append(provider)
            return []
        except (SearchProviderError, TimeoutError) as error:
            self._backoff.failed(provider.name)
            search.note(provider, str(error) or f"it did not answer within {timeout_s:.3g} s")
            return []

        self._backoff.answered(provider.name)
        search.has_answer = True
        if not found:
            search.note(provider, _NOTHING)
            return []

        results = without_duplicates(found)[: search.query.count]
        if self._cache is not None and not provider.capabilities.is_local:
            self._cache.put(provider.identity, search.query, results)
        return results

    def _remembered(self, provider: SearchProvider, query: SearchQuery) -> list[SearchResult] | None:
        if self._cache is None or provider.capabilities.is_local:
            return None

        return self._cache.get(provider.identity, query)

    async def _waited(self, search: _Search) -> bool:
        """Wait until one of the providers may be asked again, if that is soon enough; whether it was."""
        waits = [self._backoff.wait_s(provider.name) for provider in search.waiting]
        if not waits or min(waits) > self.options.max_wait_s or min(waits) >= self._left_s(search):
            return False

        await self._sleep(min(waits))
        return True

    def _left_s(self, search: _Search) -> float:
        left_s = search.deadline - self._clock()
        return left_s if search.budget is None else min(left_s, search.budget.remaining_s)

    def _outcome(
        self, search: _Search, provider: str, results: Sequence[SearchResult], *, is_cached: bool
    ) -> SearchOutcome:
        return SearchOutcome(
            query=search.query,
            results=tuple(results),
            provider=provider,
            is_cached=is_cached,
            attempts=tuple(search.attempts),
        )
