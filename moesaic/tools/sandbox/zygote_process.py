"""The server's side of a zygote: starts it, asks it for children, hears how they ended, and notices when it is dead.

1. It is a fresh interpreter, isolated and without `site`, with an empty environment and no descriptors but one socket.
   The packages above `inside` are stood in for by empty modules, so that their code is not run there.
2. One thread starts it and listens to it for as long as it lives: the kernel ends the zygote when the thread that
   started it ends, whatever happens to the rest of this process.
3. A heart-beat finds a zygote that lives but does not answer; it is killed, and with it all its children.
"""

import concurrent.futures
import contextlib
import json
import os
import select
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from moesaic.errors import SandboxError, SandboxUnavailableError
from moesaic.tools.sandbox.child_process import ChildLimits, ChildProcess, Exit
from moesaic.tools.sandbox.config import Tier
from moesaic.tools.sandbox.inside.messages import EXITED, EXITED_HEAD, FORKED, PING, REPLY, REQUEST, UNFORKED
from moesaic.tools.sandbox.interpreter import Interpreter

__all__ = ["ZygotePlan", "ZygoteProcess"]

_BOOT = """
import sys
from types import ModuleType
descriptor, folder = int(sys.argv[1]), sys.argv[2]
del sys.argv[1:], sys.orig_argv[1:]
for name in ("moesaic", "moesaic.tools", "moesaic.tools.sandbox"):
    package = sys.modules[name] = ModuleType(name)
    package.__path__ = [folder] if name == "moesaic.tools.sandbox" else []
from moesaic.tools.sandbox.inside.zygote import main
main(descriptor)
"""
_ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_FOR_FORKS = {**_ONE_THREAD, "LD_BIND_NOW": "1"}  # what is bound at the start need not be bound in every child
_PASSED_ON = ("LD_LIBRARY_PATH",)  # where the interpreter itself may need it; forgotten before programs come
_NOBODY = 65534
_PACKET_BYTES = 1 << 18
_DESCRIPTORS = 5
_TRUNCATED = int(socket.MSG_CTRUNC)
_END_TIMEOUT_S = 10.0


class ZygotePlan(NamedTuple):
    """What a zygote is to be."""

    tier: Tier
    interpreter: Interpreter
    filter: bytes
    """The system-call filter of its children."""
    start_timeout_s: float
    heartbeat_s: float


class ZygoteProcess:
    """A running zygote. `start()` first; `close()` ends it and every child of it."""

    def __init__(self, plan: ZygotePlan) -> None:
        self.plan = plan
        self.facts: Mapping[str, Any] = {}
        self.forked = 0
        """Children that it was asked for."""
        self._control, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._started: concurrent.futures.Future[Mapping[str, Any]] = concurrent.futures.Future()
        self._lock = threading.Lock()
        self._awaited: dict[int, tuple[concurrent.futures.Future[ChildProcess], ChildLimits]] = {}
        self._children: dict[int, ChildProcess] = {}
        self._dead: str | None = None
        self._heard_at = time.monotonic()
        self._thread = threading.Thread(target=self._supervise, name="moesaic-zygote", daemon=True)

    def start(self) -> None:
        """Wait until it serves.

        Raises:
            SandboxUnavailableError: a wall cannot be laid here, or it did not start; the message says which.
        """
        self._thread.start()
        try:
            self.facts = self._started.result(self.plan.start_timeout_s)
        except TimeoutError:
            self.close()
            raise SandboxUnavailableError(
                f"the zygote did not start within {self.plan.start_timeout_s:g} s; raise start_timeout_s"
            ) from None

    @property
    def pid(self) -> int:
        """Its process id; of the two processes of tier N the one that waits for the other."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it serves."""
        return self._dead is None and self._started.done()

    def fork(self, limits: ChildLimits, *, warm: bool = False) -> "concurrent.futures.Future[ChildProcess]":
        """Ask for a child; the future brings it before its walls stand, or a `SandboxError`.

        A `warm` one rehearses before it is ready: worth its time if it then waits for a program.
        """
        future: concurrent.futures.Future[ChildProcess] = concurrent.futures.Future()
        with self._lock:
            if self._dead is not None:
                _fail(future, self._dead)
                return future
            self.forked += 1
            self._awaited[self.forked] = future, limits
            number = self.forked
        try:
            self._control.send(REQUEST.pack(number, warm, *limits), socket.MSG_DONTWAIT)
        except OSError as error:
            with self._lock:
                known = self._awaited.pop(number, None)
            if known is not None:
                _fail(future, f"the zygote takes no requests: {error.strerror}")
        return future

    def close(self) -> None:
        """End it and all its children, and wait until they have; a second call has no effect."""
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(_END_TIMEOUT_S)

    def kill(self) -> None:
        """End it the hard way, as the heart-beat does."""
        self._process.kill()

    def _supervise(self) -> None:
        try:
            self._process = self._start_process()
            self._listen()
            reason = "the zygote ended"
        except OSError as error:
            reason = f"the zygote could not be started: {error}"
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        self._bury(reason)
        self._control.close()

    def _start_process(self) -> "subprocess.Popen[bytes]":
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | _FOR_FORKS
        folder = str(Path(__file__).resolve().parent)
        executable = self.plan.interpreter.executable
        command = [executable, "-I", "-S", "-B", "-c", _BOOT, str(self._theirs.fileno()), folder]
        try:
            process = subprocess.Popen(
                command,
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[self._theirs.fileno()],
                start_new_session=True,
            )
        finally:
            self._theirs.close()
        interpreter = self.plan.interpreter
        setup = {
            "tier": self.plan.tier.value,
            "filter": self.plan.filter.hex(),
            "scientific": bool(interpreter.packages),
            "packages": dict(interpreter.packages),
            "visible": list(interpreter.visible),
            "covered": list(interpreter.covered),
            "uid": _NOBODY,
            "gid": _NOBODY,
        }
        with contextlib.suppress(BrokenPipeError):  # it has ended already: listening finds out
            self._control.send(json.dumps(setup).encode())
        return process

    def _listen(self) -> None:
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        asked_at: float | None = None
        while True:
            ready = poll.poll(int(self.plan.heartbeat_s * 1000) + 1)
            if ready:
                packet, descriptors, flags, _ = socket.recv_fds(
                    self._control, _PACKET_BYTES, _DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
                )
                if not packet:
                    return
                self._heard_at = time.monotonic()
                if self._started.done():
                    self._take(packet, descriptors, truncated=flags & _TRUNCATED != 0)
                else:
                    self._take_answer(json.loads(packet))
            elif self._started.done():
                if asked_at is not None and self._heard_at < asked_at:
                    self._process.kill()  # its end is the end of the socket
                    return
                asked_at = time.monotonic()
                self._control.send(PING, socket.MSG_DONTWAIT)

    def _take_answer(self, message: dict[str, Any]) -> None:
        """How the start went."""
        if "ready" in message:
            self._started.set_result(message["ready"])
        else:
            self._started.set_exception(SandboxUnavailableError(str(message["failed"])))

    def _take(self, packet: bytes, descriptors: list[int], *, truncated: bool) -> None:
        """A packet: how children ended, as many as there are, and a reply."""
        while packet:
            kind, number = REPLY.unpack_from(packet)
            if kind == EXITED:
                with self._lock:
                    child = self._children.pop(number, None)
                if child is not None:
                    child.note_exit(Exit(*EXITED_HEAD.unpack_from(packet)[2:]))
                packet = packet[EXITED_HEAD.size :]
                continue

            if kind == FORKED:
                self._welcome(number, descriptors, truncated=truncated)
            elif kind == UNFORKED:
                with self._lock:
                    future, _ = self._awaited.pop(number)
                _fail(future, f"the zygote could not fork: {packet[REPLY.size :].decode('utf-8', 'replace')}")
            return

    def _welcome(self, number: int, descriptors: list[int], *, truncated: bool) -> None:
        with self._lock:
            future, limits = self._awaited.pop(number)
        if truncated or len(descriptors) != _DESCRIPTORS:
            for descriptor in descriptors:
                os.close(descriptor)
            _fail(future, "this process has too many open files to take a child's pipes")
            return
        child = ChildProcess(list(descriptors), limits)
        with self._lock:
            self._children[number] = child
        if not future.set_running_or_notify_cancel():
            child.end()
            return
        future.set_result(child)

    def _bury(self, reason: str) -> None:
        """Wait for its end, and tell everybody who waits for it or for a child of it."""
        process = getattr(self, "_process", None)
        if process is not None:
            try:
                process.wait(1.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        with self._lock:
            self._dead = reason
            awaited, self._awaited = self._awaited, {}
            children, self._children = self._children, {}
        if not self._started.done():
            code = None if process is None else process.returncode
            self._started.set_exception(SandboxUnavailableError(f"{reason} (exit status {code})"))
        for future, _ in awaited.values():
            _fail(future, reason)
        for child in children.values():
            child.note_exit(None)


def _fail(future: "concurrent.futures.Future[ChildProcess]", reason: str) -> None:
    """Tell who waits for a child, if anybody still does."""
    if future.set_running_or_notify_cancel():
        future.set_exception(SandboxError(reason))
