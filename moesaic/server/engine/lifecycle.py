"""Where an engine is in its life, and who waits for its failure."""

import asyncio

from moesaic.errors import EngineDeadError, EngineError
from moesaic.server.engine.engine import EngineState

__all__ = ["Lifecycle"]


class Lifecycle:
    """The state of one engine; engines hold one and move it along.

    `lock` serialises `start` and `stop`, so that two callers cannot load the same engine twice.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = EngineState.STOPPED
        self.failure: EngineDeadError | None = None
        self.lock = asyncio.Lock()
        self._failed = asyncio.Event()

    def starting(self) -> None:
        """Begin to load; a former failure is forgotten."""
        self.state = EngineState.STARTING
        self.failure = None
        self._failed.clear()

    def ready(self) -> None:
        """Loading succeeded."""
        self.state = EngineState.READY

    def stopped(self) -> None:
        """Everything is freed."""
        self.state = EngineState.STOPPED
        self.failure = None
        self._failed.clear()

    def failed(self, reason: str) -> EngineDeadError:
        """The engine died; the first reason counts. Gives the error that open requests end with."""
        if self.failure is None:
            self.failure = EngineDeadError(f"{self.name} died: {reason}; start it again")
            self.state = EngineState.FAILED
            self._failed.set()
        return self.failure

    def require_ready(self) -> None:
        """Raise `EngineDeadError` after a failure, `EngineError` in any other state but ready."""
        if self.failure is not None:
            raise EngineDeadError(str(self.failure))

        if self.state is not EngineState.READY:
            raise EngineError(f"{self.name} is {self.state}: await start() before asking it")

    async def wait_failed(self) -> EngineDeadError:
        """Wait for a failure."""
        await self._failed.wait()
        assert self.failure is not None
        return self.failure
