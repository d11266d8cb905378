"""`ReadingProcess`: the process that takes pages apart, started when first needed, killed when it takes too long."""

import contextlib
import json
import os
import selectors
import subprocess
import sys
import threading
import time
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from moesaic.errors import PageLimitError, UnreadablePageError
from moesaic.tools.page import reading_worker

__all__ = ["ReadPage", "ReadingProcess"]

_PIECE = 2**16
_FRAME_BYTES = 64 * 2**20
_PORTION_S = 0.1
_START_S = 60.0


class ReadPage(NamedTuple):
    """What a page says."""

    title: str
    text: str
    published: str
    """Date as the page gives it, in ISO form; empty if it gives none."""
    truncated: bool
    """Whether the text goes on beyond what was asked for."""


@dataclass
class _Patience:
    deadline: float
    stop: threading.Event

    def portion_s(self, now: float | None = None) -> float:
        """How long to wait before asking again, from `now` on."""
        left_s = self.deadline - (time.monotonic() if now is None else now)
        if left_s <= 0 or self.stop.is_set():
            raise TimeoutError

        return min(left_s, _PORTION_S)


class ReadingProcess:
    """Reads one page at a time; callers in several threads take turns. `close` it, or leave that to its end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._starting = False
        self._finalizer: weakref.finalize[Any, Any] | None = None

    def read(
        self, html: str, *, characters: int, timeout_s: float, url: str, stop: threading.Event | None = None
    ) -> ReadPage:
        """Title and readable text of a page.

        Args:
            html: its source.
            characters: most characters of text.
            timeout_s: longest time; then the process is killed, and the next page gets a new one. The start of a
                process does not count: it says nothing about the page.
            url: where it comes from, for errors.
            stop: set by a caller who does not want the page any more.

        Raises:
            PageLimitError: it takes longer, or is not wanted any more.
            UnreadablePageError: the page breaks the parser.
        """
        now = time.monotonic()
        patience = _Patience(now + timeout_s, stop or threading.Event())
        try:
            # Each moment is looked at once: however long this thread stands still between two of them, all of the time
            # counts as waiting, and a process that is free is taken.
            while not self._lock.acquire(timeout=patience.portion_s(now)):
                before, now = now, time.monotonic()
                if self._starting:
                    patience.deadline += now - before
        except TimeoutError as error:
            raise PageLimitError(f"{url!r} was not read within {timeout_s:g} s: others came before", url=url) from error

        try:
            answer = self._ask({"html": html, "characters": characters}, patience)
        except TimeoutError as error:
            self._kill()
            raise PageLimitError(f"{url!r} was not taken apart within {timeout_s:g} s", url=url) from error
        except (OSError, EOFError, ValueError) as error:
            self._kill()
            raise UnreadablePageError(f"{url!r} broke the process that reads pages ({error})", url=url) from error
        finally:
            self._lock.release()
        if "error" in answer:
            raise UnreadablePageError(f"{url!r} cannot be taken apart ({answer['error']})", url=url)

        return ReadPage(**answer)

    def close(self) -> None:
        """End the process; a page that is being read is an error for its caller. Another page starts a new one."""
        process = self._process
        if process is not None:
            process.kill()  # whoever reads from it notices, and gives the lock back
        with self._lock:
            self._kill()

    def _ask(self, question: dict[str, Any], patience: _Patience) -> dict[str, Any]:
        process = self._process
        if process is None or process.poll() is not None:
            self._kill()
            process = self._start(patience)
        content = json.dumps(question).encode()
        _write(_pipe(process.stdin), len(content).to_bytes(8, "big") + content, patience)
        return _frame(_pipe(process.stdout), patience)

    def _start(self, patience: _Patience) -> subprocess.Popen[bytes]:
        began = time.monotonic()
        self._starting = True
        try:
            process = self._popen()
            _frame(_pipe(process.stdout), _Patience(began + _START_S, patience.stop))
        except TimeoutError as error:
            if patience.stop.is_set():
                raise
            raise OSError(f"it did not start within {_START_S:g} s") from error
        finally:
            self._starting = False
            patience.deadline += time.monotonic() - began
        return process

    def _popen(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-I", str(Path(reading_worker.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"LANG": "C.UTF-8"},
            cwd="/",
            bufsize=0,
        )
        for pipe in (process.stdin, process.stdout):
            os.set_blocking(_pipe(pipe).fileno(), False)
        self._process = process
        self._finalizer = weakref.finalize(self, _end, process)
        return process

    def _kill(self) -> None:
        finalizer, self._finalizer, self._process = self._finalizer, None, None
        if finalizer is not None:
            finalizer()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _frame(pipe: IO[bytes], patience: _Patience) -> dict[str, Any]:
    size = int.from_bytes(_read(pipe, 8, patience), "big")
    if size > _FRAME_BYTES:
        raise ValueError(f"its answer would have {size} bytes")

    answer: dict[str, Any] = json.loads(_read(pipe, size, patience))
    return answer


def _write(pipe: IO[bytes], content: bytes, patience: _Patience) -> None:
    view = memoryview(content)
    while view:
        _wait(pipe, selectors.EVENT_WRITE, patience)
        written = os.write(pipe.fileno(), view[:_PIECE])
        view = view[written:]


def _read(pipe: IO[bytes], size: int, patience: _Patience) -> bytes:
    pieces: list[bytes] = []
    while size > 0:
        _wait(pipe, selectors.EVENT_READ, patience)
        piece = os.read(pipe.fileno(), min(size, _PIECE))
        if not piece:
            raise EOFError("it ended")

        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _wait(pipe: IO[bytes], event: int, patience: _Patience) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, event)
        while not selector.select(patience.portion_s()):
            continue
