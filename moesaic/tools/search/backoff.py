"""`Backoff`: which providers want to be left alone, and for how long.

A provider that says how long (Retry-After) is taken at its word, up to a bound; one that does not is left alone twice
as long each time. A provider that fails three times running is treated likewise, so that a dead one does not cost every
query its whole deadline.
"""

import threading
import time
from collections.abc import Callable

__all__ = ["Backoff"]

_FAILURES = 3


class Backoff:
    """What is known of providers, by name. Safe to share between threads.

    Args:
        first_s: how long a provider is left alone that does not say how long.
        longest_s: longest that one is left alone, whatever it says.
        clock: seconds that never go back.
    """

    def __init__(self, *, first_s: float, longest_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._first_s, self._longest_s, self._clock = first_s, longest_s, clock
        self._until: dict[str, float] = {}
        self._refusals: dict[str, int] = {}
        self._failures: dict[str, int] = {}
        self._lock = threading.Lock()

    def wait_s(self, name: str) -> float:
        """Seconds until a provider may be asked again; 0 if it may be asked now."""
        with self._lock:
            return max(0.0, self._until.get(name, 0.0) - self._clock())

    def refused(self, name: str, retry_after_s: float | None) -> float:
        """Note that a provider wants no more queries; give the seconds that it is left alone."""
        with self._lock:
            refusals = self._refusals[name] = self._refusals.get(name, 0) + 1
            return self._leave_alone(name, self._doubled(refusals) if retry_after_s is None else retry_after_s)

    def failed(self, name: str) -> None:
        """Note that a provider failed."""
        with self._lock:
            failures = self._failures[name] = self._failures.get(name, 0) + 1
            if failures >= _FAILURES:
                self._leave_alone(name, self._doubled(failures - _FAILURES + 1))

    def answered(self, name: str) -> None:
        """Note that a provider is well."""
        with self._lock:
            for notes in (self._until, self._refusals, self._failures):
                notes.pop(name, None)

    def _doubled(self, times: int) -> float:
        return self._first_s * 2.0 ** min(times - 1, 30)

    def _leave_alone(self, name: str, seconds: float) -> float:
        seconds = min(max(seconds, 0.0), self._longest_s)
        self._until[name] = self._clock() + seconds
        return seconds
