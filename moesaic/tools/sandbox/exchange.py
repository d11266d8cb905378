"""One program sent to a child, and what comes back: all of it limited, whatever the child does.

Nothing is read beyond the limits, so that a flood costs this process no more memory than they say; a pipe that the
child has closed is no longer listened to, so that it costs no time either.
"""

import math
import os
import select
import time
from collections.abc import Mapping
from enum import Enum, auto
from typing import NamedTuple

from moesaic.tools.sandbox.child_process import ChildProcess
from moesaic.tools.sandbox.result_frame import LENGTH_BYTES, MalformedFrame, Result, parse_frame

__all__ = ["Ending", "Exchange", "RunLimits"]

_CHUNK_BYTES = 1 << 16
_ERROR_BYTES = 96 * 1024
"""Room for an error's texts as JSON, whatever a value may take."""


class RunLimits(NamedTuple):
    """The limits of one run."""

    timeout_s: float
    memory_bytes: int
    output_bytes: int
    result_bytes: int


class Ending(Enum):
    """Why an exchange is over."""

    FRAME = auto()
    """The child sent a whole frame."""
    EXIT = auto()
    """It ended without one."""
    TIMEOUT = auto()
    """Neither came in time."""
    OUTPUT_LIMIT = auto()
    """It wrote too much."""
    RESULT_LIMIT = auto()
    """It announced a frame that is too long."""


class Exchange:
    """The bytes of one exchange. `pipes` are those that the child has not closed; what it closes is taken out."""

    def __init__(self, child: ChildProcess, limits: RunLimits, pipes: set[int]) -> None:
        self.stdout, self.stderr = bytearray(), bytearray()
        self._child = child
        self._limits = limits
        self._pipes = pipes
        self._frame = bytearray()
        self._flooded = False
        self._sinks: Mapping[int, bytearray] = {child.output: self.stdout, child.errors: self.stderr}

    @property
    def has_more(self) -> bool:
        """Whether something came behind the frame."""
        return len(self._frame) > self._frame_bytes()

    def result(self) -> Result | MalformedFrame | None:
        """What the frame claims, None if there is no whole one."""
        if not self._is_whole():
            return None
        body = bytes(self._frame[LENGTH_BYTES : self._frame_bytes()])
        return parse_frame(body, most_bytes=self._limits.result_bytes)

    def talk(self, message: bytes, deadline: float) -> Ending:
        """Send the program, then take what comes."""
        poll = select.poll()
        for descriptor in (*self._pipes, self._child.handle):
            poll.register(descriptor, select.POLLIN)
        unsent = self._send(memoryview(message))
        if unsent:
            poll.register(self._child.jobs, select.POLLOUT)
        remaining_s = math.inf
        while remaining_s > 0:
            # The last look is at what came in time: this process may have stood still, not the child.
            remaining_s = max(0.0, deadline - time.monotonic())
            ready = {descriptor for descriptor, _ in poll.poll(math.ceil(remaining_s * 1000))}
            if unsent and self._child.jobs in ready:
                unsent = self._send(unsent)
                if not unsent:
                    poll.unregister(self._child.jobs)
            before = set(self._pipes)
            if (ending := self._take(ready, self._child.handle in ready)) is not None:
                return ending
            for descriptor in before - self._pipes:
                poll.unregister(descriptor)
        return Ending.TIMEOUT

    def _take(self, ready: set[int], ended: bool) -> Ending | None:
        """Read what there is; the reason if the exchange is over."""
        if self._child.results in ready:
            self._take_frame()
        whole = self._is_whole()
        for descriptor in self._sinks:
            # What was written before a frame, or before the end, is in the pipes by now.
            if descriptor in self._pipes and (descriptor in ready or whole or ended):
                self._take_output(descriptor)
        if self._flooded:
            return Ending.OUTPUT_LIMIT
        if self._frame_bytes() > LENGTH_BYTES + self._limits.result_bytes + _ERROR_BYTES:
            return Ending.RESULT_LIMIT
        if whole:
            return Ending.FRAME
        return Ending.EXIT if ended else None

    def _send(self, message: memoryview) -> memoryview:
        """What could not be sent yet."""
        try:
            while message:
                message = message[os.write(self._child.jobs, message) :]
        except BlockingIOError:
            return message
        except BrokenPipeError:  # it reads no more: what it does instead is seen from its other pipes
            return message[:0]
        return message

    def _frame_bytes(self) -> int:
        """Length of the whole frame, as far as it is known."""
        return LENGTH_BYTES + int.from_bytes(self._frame[:LENGTH_BYTES].ljust(LENGTH_BYTES, b"\0"), "big")

    def _is_whole(self) -> bool:
        return len(self._frame) >= LENGTH_BYTES and len(self._frame) >= self._frame_bytes()

    def _take_frame(self) -> None:
        most = self._limits.result_bytes + _ERROR_BYTES + _CHUNK_BYTES
        while not self._is_whole() and len(self._frame) < most:
            part = self._read(self._child.results, _CHUNK_BYTES)
            if not part:
                return
            self._frame += part

    def _take_output(self, descriptor: int) -> None:
        while True:
            room = self._limits.output_bytes - len(self.stdout) - len(self.stderr)
            part = self._read(descriptor, min(room + 1, _CHUNK_BYTES))
            if not part:
                return
            self._sinks[descriptor].extend(part[:room])
            if len(part) > room:
                self._flooded = True
                return

    def _read(self, descriptor: int, most: int) -> bytes:
        """What there is, nothing if there is nothing now or never more."""
        if descriptor not in self._pipes:
            return b""
        try:
            part = os.read(descriptor, most)
        except BlockingIOError:
            return b""
        if not part:
            self._pipes.discard(descriptor)
        return part
