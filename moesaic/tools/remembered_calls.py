"""Outcomes by the names of their calls, so that a call that is made twice is done once.

A repetition that comes while the first is under way waits for it; one that comes after it gets the same outcome. If the
first is cancelled, the next one takes its place. It works across threads and event loops.
"""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import NamedTuple

from moesaic.errors import ToolArgumentError
from moesaic.tools.tool_call import ToolOutcome

__all__ = ["CallKey", "RememberedCalls"]

_TURNS = 100
"""Most cancelled predecessors that a repetition waits for."""


class CallKey(NamedTuple):
    """What names a call."""

    tenant: str
    request_id: str
    call_id: str


class _Remembered(NamedTuple):
    digest: str
    outcome: "Future[ToolOutcome | None]"


class RememberedCalls:
    """The last `most` outcomes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._calls: OrderedDict[CallKey, _Remembered] = OrderedDict()
        self._lock = threading.Lock()

    async def once(
        self, key: CallKey, digest: str, make: Callable[[], Awaitable[ToolOutcome]]
    ) -> tuple[ToolOutcome, bool]:
        """The outcome of the call, and whether it is that of an earlier one.

        Args:
            key: names the call.
            digest: of the tool and its arguments.
            make: makes the call.

        Raises:
            ToolArgumentError: the name stands for another call.
        """
        for _ in range(_TURNS):
            with self._lock:
                known = self._calls.get(key)
                if known is None:
                    mine: Future[ToolOutcome | None] = Future()
                    mine.set_running_or_notify_cancel()
                    self._calls[key] = _Remembered(digest, mine)
                    self._forget_oldest()
            if known is None:
                return await self._make(key, mine, make), False
            if known.digest != digest:
                raise ToolArgumentError(
                    "id", f"{key.call_id!r:.80} names another call of this request: give each call a name of its own"
                )
            outcome = await asyncio.shield(asyncio.wrap_future(known.outcome))
            if outcome is not None:
                return outcome, True
        raise ToolArgumentError("id", f"{key.call_id!r:.80} was given up {_TURNS} times; give the call a new name")

    async def _make(
        self, key: CallKey, mine: "Future[ToolOutcome | None]", make: Callable[[], Awaitable[ToolOutcome]]
    ) -> ToolOutcome:
        outcome = None
        try:
            outcome = await make()
        finally:
            if outcome is None:
                with self._lock:
                    self._calls.pop(key, None)
            mine.set_result(outcome)
        return outcome

    def _forget_oldest(self) -> None:
        """Make room; calls under way stay."""
        done = [key for key, call in self._calls.items() if call.outcome.done()]
        for key in done[: max(0, len(self._calls) - self._most)]:
            del self._calls[key]
