"""A moment until which something must be done, over all its steps."""

import asyncio
import time
from collections.abc import Awaitable
from typing import TypeVar

from moesaic.errors import DeadlineExceededError

__all__ = ["Deadline"]

T = TypeVar("T")


class Deadline:
    """So many seconds from now."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._end = time.monotonic() + timeout_s

    def remaining_s(self) -> float:
        """Seconds that are left; raises `DeadlineExceededError` if there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise self._missed()
        return left

    async def wait_for(self, asked: Awaitable[T]) -> T:
        """Wait; raises `DeadlineExceededError` when the time is over."""
        try:
            async with asyncio.timeout(max(0.0, self._end - time.monotonic())):
                return await asked
        except TimeoutError as error:
            raise self._missed() from error

    def _missed(self) -> DeadlineExceededError:
        return DeadlineExceededError(f"not answered within {self._timeout_s:g} s; allow more time (timeout_s)")
