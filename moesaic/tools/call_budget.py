"""How many calls of tools one request may make, over all its steps and all its parallel branches."""

import threading

from moesaic.errors import InputError, ToolRefusedError

__all__ = ["CallBudget"]


class CallBudget:
    """Counts calls down; safe to use from several threads.

    Args:
        calls: most calls, 0 or more.
    """

    def __init__(self, calls: int) -> None:
        if calls < 0:
            raise InputError(f"calls={calls!r} must be 0 or more")
        self._calls = calls
        self._left = calls
        self._lock = threading.Lock()

    @property
    def left(self) -> int:
        """Calls that may still be made."""
        return self._left

    def spend(self) -> None:
        """Take one call.

        Raises:
            ToolRefusedError: none is left.
        """
        with self._lock:
            if not self._left:
                raise ToolRefusedError(f"all {self._calls} calls of this request are spent: answer with what is known")
            self._left -= 1
