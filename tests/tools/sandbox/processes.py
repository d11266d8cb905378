"""The processes of a sandbox, as /proc shows them, and a configuration for machines that have little time."""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moesaic.tools.sandbox import Sandbox, SandboxConfig

__all__ = [
    "a_program_runs",
    "cpu_times",
    "descendants",
    "eventually",
    "family",
    "is_running",
    "open_descriptors",
    "patient",
    "spares_have_come",
    "zygote_pid",
]


def patient(**given: Any) -> SandboxConfig:
    """A configuration in which nothing is ended because the machine was busy; `given` counts for more."""
    return SandboxConfig(**{"timeout_s": 60.0, "queue_timeout_s": 60.0, "heartbeat_s": 60.0, **given})


def family(sandbox: Sandbox) -> list[int]:
    """Every process of a sandbox, the one that was started first."""
    started: int = sandbox._programs._base._zygote.pid  # type: ignore[union-attr]
    return [started, *descendants(started)]


def zygote_pid(sandbox: Sandbox) -> int:
    """The process that forks; in tier namespaces the child of the one that was started."""
    return family(sandbox)[1 if sandbox.tier == "namespaces" else 0]


def spares_have_come(sandbox: Sandbox) -> bool:
    """Whether all the children that it keeps ready are there, with their descriptors in this process."""
    nursery = sandbox._programs._base  # type: ignore[union-attr]
    return len(nursery._spares) == nursery._config.spares and all(spare.done() for spare in nursery._spares)


def cpu_times(sandbox: Sandbox) -> dict[int, float]:
    """Processor time of every child of the zygote, in seconds."""
    times = {}
    for pid in descendants(zygote_pid(sandbox)):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            times[pid] = time.clock_gettime(~pid << 3 | 2)
    return times


def a_program_runs(sandbox: Sandbox) -> bool:
    """Whether a program that computes has begun, seen by the time that it takes; spares take next to none."""
    return max(cpu_times(sandbox).values(), default=0.0) > 0.1


def descendants(pid: int) -> list[int]:
    """Children of a process and theirs, parents first; zombies too. What ends meanwhile has none any more."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for child in map(int, task.read_text().split()):
                found += [child, *descendants(child)]
    return found


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def open_descriptors() -> int:
    """How many this process has."""
    return len(os.listdir("/proc/self/fd"))


def eventually(holds: Callable[[], bool], *, timeout_s: float = 60) -> bool:
    """Whether a condition comes true within the time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.02)
    return holds()
