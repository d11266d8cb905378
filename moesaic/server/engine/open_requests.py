"""The requests in flight of an engine that schedules by itself: a fixed number of slots, and a line of who waits."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from moesaic.errors import EngineOverloadedError, RequestError

__all__ = ["OpenRequest", "OpenRequests"]


class OpenRequest:
    """One request in flight; whoever computes it looks at `ended` between two tokens."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        """Set when the request is aborted, and when the engine dies or stops."""


class OpenRequests:
    """Admits up to `slots` requests at a time and lets others wait in order, up to `max_open` in all."""

    def __init__(self, *, slots: int, max_open: int) -> None:
        self._slots = asyncio.Semaphore(slots)
        self._max_open = max_open
        self._open: dict[str, OpenRequest] = {}
        self.running = 0

    @property
    def waiting(self) -> int:
        """Requests without a slot."""
        return len(self._open) - self.running

    @asynccontextmanager
    async def admit(self, request_id: str) -> AsyncGenerator[OpenRequest, None]:
        """Hold a slot for the block; a request that ends while it waits enters at once, without a slot.

        Raises:
            RequestError: a request of this name is in flight.
            EngineOverloadedError: too many are.
        """
        if request_id in self._open:
            raise RequestError("request_id", f"{request_id!r} is in flight already; names are used once")
        if len(self._open) >= self._max_open:
            raise EngineOverloadedError(f"{len(self._open)} requests are open, the most allowed; try again later")

        request = self._open[request_id] = OpenRequest()
        try:
            if not await self._slot(request):
                yield request
                return

            self.running += 1
            try:
                yield request
            finally:
                self.running -= 1
                self._slots.release()
        finally:
            del self._open[request_id]

    def end(self, request_id: str) -> bool:
        """End one request; False if there is none of this name."""
        request = self._open.get(request_id)
        if request is not None:
            request.ended.set()
        return request is not None

    def end_all(self) -> None:
        """End every request."""
        for request in self._open.values():
            request.ended.set()

    async def _slot(self, request: OpenRequest) -> bool:
        """Wait for a slot; False if the request ended first."""
        slot = asyncio.ensure_future(self._slots.acquire())
        ended = asyncio.ensure_future(request.ended.wait())
        kept = False
        try:
            await asyncio.wait({slot, ended}, return_when=asyncio.FIRST_COMPLETED)
            kept = slot.done()
            return kept
        finally:
            ended.cancel()
            # Cancelled here, or ended and admitted in one breath: nobody may keep the slot.
            if not kept and not slot.cancel() and not slot.cancelled():
                self._slots.release()
