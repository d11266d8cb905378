"""How much of the machine others used while something was measured, in cores: what makes a figure doubtful."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

__all__ = ["ForeignLoad", "busy_seconds", "process_seconds"]

_TICKS = os.sysconf("SC_CLK_TCK")
_IDLE = (3, 4)  # idle and iowait, among the fields of the line "cpu" in /proc/stat
_COUNTED = 8  # user to steal; guest time is part of user time already


class ForeignLoad:
    """Counts from its construction on.

    Args:
        processes: ids of the processes that belong to the measurement; all of them must live until `cores`.
    """

    def __init__(self, processes: Iterable[int]) -> None:
        self._processes = tuple(processes)
        self._start = time.monotonic()
        self._foreign = self._foreign_seconds()

    def cores(self) -> float:
        """Cores that others kept busy on average, 0 or more."""
        elapsed = time.monotonic() - self._start
        return max(0.0, (self._foreign_seconds() - self._foreign) / elapsed)

    def _foreign_seconds(self) -> float:
        stat = Path("/proc/stat").read_text(encoding="ascii")
        own = sum(process_seconds(Path(f"/proc/{process}/stat").read_text()) for process in self._processes)
        return busy_seconds(stat) - own


def busy_seconds(stat: str) -> float:
    """CPU seconds since boot that were neither idle nor waiting for a disk, from the text of /proc/stat."""
    ticks = [int(field) for field in stat.splitlines()[0].split()[1 : 1 + _COUNTED]]
    return sum(count for index, count in enumerate(ticks) if index not in _IDLE) / _TICKS


def process_seconds(stat: str) -> float:
    """CPU seconds of a process, from the text of its /proc/PID/stat."""
    fields = stat.rpartition(")")[2].split()  # the name before it may hold blanks and brackets
    user, system = fields[11:13]
    return (int(user) + int(system)) / _TICKS
