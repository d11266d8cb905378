"""How a caller gives a run up from another thread."""

import threading
from collections.abc import Callable

__all__ = ["Cancellation"]


class Cancellation:
    """One run's: what waits for it stops waiting, and the child that runs is killed at once."""

    def __init__(self) -> None:
        self.requested = False
        self._lock = threading.Lock()
        self._effects: list[Callable[[], None]] = []

    def when_requested(self, effect: Callable[[], None]) -> None:
        """Have this called when the run is given up; now, if it has been already."""
        with self._lock:
            self._effects.append(effect)
            late = self.requested
        if late:
            effect()

    def request(self) -> None:
        """Give the run up."""
        with self._lock:
            self.requested = True
            effects = list(self._effects)
        for effect in effects:
            effect()
