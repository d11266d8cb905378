"""Waiting for what another task, thread or process does."""

import asyncio
import time
from collections.abc import Callable

__all__ = ["GROWING_S", "PATIENCE_S", "until"]

PATIENCE_S = 60.0
"""How long is waited for what must happen: only what is broken takes so long, however busy the machine is."""

GROWING_S = (0.15, 1.5, 15.0, 50.0)
"""Deadlines to be tried in turn, where a call must have arrived before its deadline ends it: the first one does, unless
a process stood still meanwhile."""


async def until(condition: Callable[[], bool], *, within_s: float = PATIENCE_S) -> None:
    """Wait until `condition()` holds; fail if it does not in time."""
    ends = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < ends, "it did not come true in time"
        await asyncio.sleep(0.005)
