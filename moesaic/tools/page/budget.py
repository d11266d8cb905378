"""`SearchBudget`: what one request may spend on searches and pages, over all of its calls and all who make them."""

import math
import threading
import time
from collections.abc import Callable

from moesaic.errors import InputError, SearchBudgetError

__all__ = ["SearchBudget"]


class SearchBudget:
    """Queries, seconds and bytes of one request. Threads and tasks may share it; its clock runs from its making.

    Args:
        queries: most queries that go to search engines; answers from the cache cost none.
        seconds: how long after its making anything may still be asked.
        bytes_: most bytes received, of answers and of pages.
        clock: a clock in seconds that never goes back.

    Raises:
        InputError: a bound is negative or not a number.
    """

    def __init__(
        self,
        *,
        queries: int = 8,
        seconds: float = 60.0,
        bytes_: int = 20 * 2**20,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for name, value in (("queries", queries), ("seconds", seconds), ("bytes_", bytes_)):
            if not 0 <= value < math.inf:
                raise InputError(f"{name}={value!r} must be a number of at least 0")
        self._queries, self._bytes, self._seconds = queries, bytes_, seconds
        self._spent_queries = self._spent_bytes = 0
        self._clock, self._start = clock, clock()
        self._lock = threading.Lock()

    @property
    def remaining_queries(self) -> int:
        """Queries that may still be sent."""
        return self._queries - self._spent_queries

    @property
    def remaining_bytes(self) -> int:
        """Bytes that may still be received; not below 0."""
        return max(0, self._bytes - self._spent_bytes)

    @property
    def remaining_s(self) -> float:
        """Seconds that are left; not below 0."""
        return max(0.0, self._start + self._seconds - self._clock())

    def check(self) -> None:
        """Refuse further work when seconds or bytes are spent.

        Raises:
            SearchBudgetError: nothing is left.
        """
        if self.remaining_s <= 0:
            raise self._spent("seconds", f"{self._seconds:g} s")
        if self.remaining_bytes <= 0:
            raise self._spent("bytes", f"{self._bytes} bytes")

    def spend_query(self) -> None:
        """Count one query.

        Raises:
            SearchBudgetError: none is left, or seconds or bytes are spent.
        """
        self.check()
        with self._lock:
            if self._spent_queries >= self._queries:
                raise self._spent("queries", f"{self._queries} queries")

            self._spent_queries += 1

    def spend_bytes(self, count: int) -> None:
        """Count bytes that have been received.

        Raises:
            SearchBudgetError: they are more than were left.
        """
        with self._lock:
            self._spent_bytes += count
            if self._spent_bytes > self._bytes:
                raise self._spent("bytes", f"{self._bytes} bytes")

    @staticmethod
    def _spent(resource: str, bound: str) -> SearchBudgetError:
        return SearchBudgetError(
            f"the request's {resource} for searches and pages are spent ({bound}): answer with what was found",
            resource=resource,
        )
