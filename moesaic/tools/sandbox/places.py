"""Places for programs that run at the same time: whoever finds none waits his turn, up to a deadline."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from moesaic.errors import SandboxBusyError
from moesaic.tools.sandbox.cancellation import Cancellation

__all__ = ["Places"]


class Places:
    """As many as programs may run at once; given in the order of asking."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = count
        self._lock = threading.Lock()
        self._waiting: deque[threading.Event] = deque()

    @contextmanager
    def taken(self, timeout_s: float, cancellation: Cancellation) -> Iterator[bool]:
        """Hold a place, or none (False) if the caller gave up while he waited.

        Raises:
            SandboxBusyError: none got free in time.
        """
        holds = self._take(timeout_s, cancellation)
        try:
            yield holds
        finally:
            if holds:
                self._leave()

    def _take(self, timeout_s: float, cancellation: Cancellation) -> bool:
        turn = threading.Event()
        with self._lock:
            if self._free and not self._waiting:
                self._free -= 1
                return True
            self._waiting.append(turn)
        cancellation.when_requested(turn.set)
        turn.wait(timeout_s)
        with self._lock:
            if turn not in self._waiting:  # its turn has come
                return True
            self._waiting.remove(turn)
        if cancellation.requested:
            return False
        raise SandboxBusyError(
            f"{self._count} programs run in this sandbox, as many as may, and none of them ended within "
            f"{timeout_s:g} s; try again later, or raise concurrency or queue_timeout_s"
        )

    def _leave(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1
