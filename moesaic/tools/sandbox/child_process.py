"""The server's side of one child: four pipes, a pid descriptor, and how it ended."""

import contextlib
import os
import select
import signal
import threading
import time
from typing import NamedTuple

from moesaic.tools.sandbox.inside.messages import READY

__all__ = ["ChildLimits", "ChildProcess", "Exit", "Observation"]

_REASON_BYTES = 600
_STATUS_BYTES = 8192


class ChildLimits(NamedTuple):
    """What a child is forked with; it cannot be changed afterwards."""

    memory_bytes: int
    cpu_s: int
    scratch_bytes: int


class Exit(NamedTuple):
    """How a child ended, as `wait4` told its zygote."""

    status: int
    cpu_s: float
    max_rss_bytes: int


class Observation(NamedTuple):
    """What a living child has taken so far, seen from outside."""

    cpu_s: float
    max_rss_bytes: int


class ChildProcess:
    """One child; `end()` is to be called, whatever happened.

    The pid descriptor stands for this process alone: a signal can never hit another one that got its number.
    """

    def __init__(self, descriptors: list[int], limits: ChildLimits) -> None:
        self.jobs, self.output, self.errors, self.results, self.handle = descriptors
        self.limits = limits
        self.exit: Exit | None = None
        self._exited = threading.Event()
        self._closing = threading.Lock()
        self._killed = False
        self._closed = False
        self._pid = _process_id(self.handle)

    def wait_until_ready(self, deadline: float) -> str | None:
        """Wait until every wall stands; the reason if one does not, or if nothing came before `deadline`."""
        remaining_ms = max(0, int((deadline - time.monotonic()) * 1000) + 1)
        poll = select.poll()
        poll.register(self.results, select.POLLIN)
        if not poll.poll(remaining_ms):
            return "a child did not get ready in time"
        first = os.read(self.results, 1)
        if first == READY:
            return "a child ended before it was needed" if self._has_ended() else None
        with contextlib.suppress(BlockingIOError):
            reason = os.read(self.results, _REASON_BYTES) if first else b""
            return reason.decode("utf-8", "replace") or "a child ended while it laid its walls"
        return "a child failed without a reason"

    def kill(self) -> None:
        """End it at once; no effect if it has ended."""
        with self._closing:
            if not self._closed and not self._killed:
                self._killed = True
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self.handle, signal.SIGKILL)

    def end(self) -> None:
        """End it and close what belongs to it here; a second call has no effect."""
        self.kill()
        with self._closing:
            if not self._closed:
                self._closed = True
                for descriptor in (self.jobs, self.output, self.errors, self.results, self.handle):
                    os.close(descriptor)

    def note_exit(self, exit_: Exit | None) -> None:
        """Told by the zygote's supervisor; None where the zygote is gone and nobody knows."""
        self.exit = exit_
        self._exited.set()

    def wait_exit(self, timeout_s: float) -> Exit | None:
        """How it ended, as soon as that is known; None if nobody can tell."""
        self._exited.wait(timeout_s)
        return self.exit

    def cpu_s(self) -> float | None:
        """Processor time that it has taken, None if that cannot be seen from here."""
        if self._pid is None:
            return None
        try:
            return time.clock_gettime(~self._pid << 3 | 2)  # the processor-time clock of another process
        except OSError:
            return None

    def observe(self, *, peak: bool) -> Observation | None:
        """What it has taken so far, the peak of memory only if asked for; None if it cannot be seen, or has ended."""
        cpu_s = self.cpu_s()
        if cpu_s is None or not peak:
            return None if cpu_s is None else Observation(cpu_s, 0)
        try:
            status = _contents(f"/proc/{self._pid}/status")
        except OSError:
            return None
        # The number was its own until now, if it has not ended: nobody can have waited for it.
        highest = status.partition(b"VmHWM:")[2].split(maxsplit=1)
        if self._has_ended() or not highest:
            return None
        return Observation(cpu_s, int(highest[0]) * 1024)

    def _has_ended(self) -> bool:
        poll = select.poll()
        poll.register(self.handle, select.POLLIN)
        return bool(poll.poll(0))

    def status_lines(self) -> dict[str, str]:
        """What /proc says about it: capabilities, filters, user; empty if it cannot be seen."""
        try:
            with open(f"/proc/{self._pid}/status", encoding="ascii", errors="replace") as stream:
                return {name: value.strip() for name, _, value in (line.partition(":") for line in stream)}
        except OSError:
            return {}


def _process_id(handle: int) -> int | None:
    """The number of the process as this one sees it, None if it cannot tell."""
    try:
        facts = _contents(f"/proc/self/fdinfo/{handle}")
    except OSError:
        return None
    number = facts.partition(b"\nPid:")[2].split(maxsplit=1)
    return int(number[0]) if number and int(number[0]) > 0 else None


def _contents(path: str) -> bytes:
    """A short file of the kernel's; this is done for every program, and `open` takes thrice as long."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _STATUS_BYTES)
    finally:
        os.close(descriptor)
