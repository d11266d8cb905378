"""Waiting for what another task, thread or process does."""

import asyncio
import time
from collections.abc import Callable

__all__ = ["until"]


async def until(condition: Callable[[], bool], *, within_s: float = 30.0) -> None:
    """Wait until `condition()` holds; fail if it does not in time."""
    ends = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < ends, "it did not come true in time"
        await asyncio.sleep(0.005)
