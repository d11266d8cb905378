"""The processes of a sandbox, as /proc shows them, and a configuration for machines that have little time."""

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moesaic.tools.sandbox import Sandbox, SandboxConfig

__all__ = [
    "FOREVER",
    "descendants",
    "eventually",
    "family",
    "is_running",
    "open_descriptors",
    "patient",
    "running_programs",
    "spares_have_come",
    "zygote_pid",
]

FOREVER = "import signal\nsignal.signal(signal.SIGUSR1, print)\nwhile True:\n    pass"
"""A program that never ends, and by the signal that it catches shows in /proc that it has begun."""

_CAUGHT = re.compile(r"^SigCgt:\s*([0-9a-f]+)$", re.MULTILINE)


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


def running_programs(sandbox: Sandbox) -> list[int]:
    """The processes in which `FOREVER` has begun.

    Their processor time would say less: a spare may be charged for a machine that stood still, and a former program,
    killed and not yet gone, has some too.
    """
    return [pid for pid in descendants(zygote_pid(sandbox)) if is_running(pid) and _catches(pid, signal.SIGUSR1)]


def _catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    try:
        found = _CAUGHT.search(Path(f"/proc/{pid}/status").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return False
    return found is not None and bool(int(found[1], 16) >> (number - 1) & 1)


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
