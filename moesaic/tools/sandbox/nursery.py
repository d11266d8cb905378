"""Keeps children ready: one zygote and its spares, started, tested, replaced and given up.

1. A zygote serves only after the attack self-test. One that dies, does not answer, or whose children do not get ready
   is replaced after a pause that doubles; after `max_restarts` failures in a row it is left alone for half a minute,
   and whoever asks is told the reason.
2. Spares are asked for after an answer has been given and come while the caller goes on; a child with other limits than
   the usual ones is forked when it is needed. Spares rehearse, unless programs come so fast that they would not wait.
3. After `recycle_after` children a zygote is replaced in the background, and ends when its last program has.
"""

import concurrent.futures
import math
import threading
import time
from collections import deque
from collections.abc import Callable

from moesaic.errors import SandboxBusyError, SandboxError, SandboxUnavailableError
from moesaic.tools.sandbox.child_process import ChildLimits, ChildProcess
from moesaic.tools.sandbox.config import SandboxConfig, Tier
from moesaic.tools.sandbox.self_test import attack, probing_limits
from moesaic.tools.sandbox.zygote_process import ZygoteProcess

__all__ = ["Nursery", "usual_limits"]

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 5.0
_REST_S = 30.0
_CHILD_TIMEOUT_S = 60.0
_HURRY_S = 0.01
_CPU_FACTOR = 4  # so that a child outlives several programs of a batch, and programs with a longer time than usual

Starter = Callable[[], ZygoteProcess]


def usual_limits(config: SandboxConfig) -> ChildLimits:
    """What spares are forked with."""
    return ChildLimits(config.memory_bytes, math.ceil(_CPU_FACTOR * config.timeout_s) + 1, 0)


class Nursery:
    """The children of one tier and one set of libraries; safe to use from several threads."""

    def __init__(self, make_zygote: Starter, tier: Tier, config: SandboxConfig) -> None:
        self._make_zygote = make_zygote
        self._tier = tier
        self._config = config
        self._usual = usual_limits(config)
        self._lock = threading.RLock()
        self._zygote: ZygoteProcess | None = None
        self._spares: deque[concurrent.futures.Future[ChildProcess]] = deque()
        self._out: dict[int, ZygoteProcess] = {}  # id of a child that was taken -> its zygote
        self._used: list[ZygoteProcess] = []  # one for each child that was taken or is about to be: none may be closed
        self._retired: set[ZygoteProcess] = set()
        self._taken_at = 0.0
        self._hurried = False
        self._replacing = False
        self._failures = 0
        self._given_up: tuple[str, float] | None = None  # why, and when it may be tried again
        self._closed = False

    def start(self) -> ZygoteProcess:
        """Have a zygote that has passed its test, and spares on the way.

        Raises:
            SandboxUnavailableError: the walls cannot be laid here, or do not hold.
        """
        with self._lock:
            if self._closed:
                raise SandboxUnavailableError("the sandbox is closed")
            if self._given_up is not None and time.monotonic() < self._given_up[1]:
                raise SandboxUnavailableError(self._given_up[0])
            if self._zygote is None or not self._zygote.is_alive:
                self._drop_spares()
                if self._zygote is not None:  # it died by itself
                    self._zygote.close()
                    self._zygote = None
                self._zygote = self._tested()
                self._refill()
            return self._zygote

    def take(self, limits: ChildLimits, deadline: float) -> ChildProcess:
        """A child whose walls all stand; `give_back` it.

        Raises:
            SandboxUnavailableError: too many starts failed in a row.
            SandboxBusyError: none got ready before `deadline`.
        """
        while True:
            zygote = self._living(deadline)
            with self._lock:
                if zygote is not self._zygote:  # replaced just now
                    continue
                self._used.append(zygote)
                spare = self._spares.popleft() if limits == self._usual and self._spares else None
                now = time.monotonic()
                self._hurried, self._taken_at = now - self._taken_at < _HURRY_S, now
            taken = None
            try:
                taken = self._ready_child(zygote, spare or zygote.fork(limits), deadline)
            finally:
                if taken is None:
                    self._release(zygote)
            if taken is not None:
                return taken

    def give_back(self, child: ChildProcess) -> None:
        """End a child, and ask for another in its place."""
        child.end()
        with self._lock:
            if (zygote := self._out.pop(id(child), None)) is not None:
                self._release(zygote)
            self._refill()
            if self._zygote is not None and self._zygote.forked >= self._config.recycle_after and not self._replacing:
                self._replacing = True
                threading.Thread(target=self._replace, name="moesaic-zygote-replacement", daemon=True).start()

    def close(self) -> None:
        """End every child and the zygotes; programs that run come out as crashed."""
        with self._lock:
            self._closed = True
            zygotes = {self._zygote, *self._retired} - {None}
            self._zygote = None
            self._retired.clear()
            self._drop_spares()
        for zygote in zygotes:
            if zygote is not None:
                zygote.close()

    def _living(self, deadline: float) -> ZygoteProcess:
        """The zygote; a new one after a pause, if the last one failed."""
        while True:
            with self._lock:
                if self._zygote is not None and self._zygote.is_alive:
                    return self._zygote
                failures = self._failures
            if failures:
                pause_s = min(_FIRST_PAUSE_S * 2**failures, _LONGEST_PAUSE_S)
                if time.monotonic() + pause_s > deadline:
                    raise SandboxBusyError("the sandbox is being restarted; try again later")
                time.sleep(pause_s)
            try:
                return self.start()
            except SandboxUnavailableError as error:
                with self._lock:
                    if self._closed or self._given_up is not None:
                        raise
                    self._count_failure(str(error))

    def _ready_child(
        self, zygote: ZygoteProcess, future: "concurrent.futures.Future[ChildProcess]", deadline: float
    ) -> ChildProcess | None:
        """The child once its walls stand; None if its zygote had to be given up instead."""
        child = self._awaited(future, deadline)
        reason = child if isinstance(child, str) else child.wait_until_ready(_until(deadline))
        if isinstance(child, ChildProcess):
            if reason is None:
                with self._lock:
                    self._failures, self._given_up = 0, None
                    self._out[id(child)] = zygote
                return child
            child.end()
        self._fail(zygote, str(reason))
        return None

    def _release(self, zygote: ZygoteProcess) -> None:
        """One who used a zygote does so no more; the last one ends it, if another serves in its place."""
        with self._lock:
            self._used.remove(zygote)
            if zygote in self._retired and zygote not in self._used:
                self._retired.discard(zygote)
                zygote.close()

    def _awaited(self, future: "concurrent.futures.Future[ChildProcess]", deadline: float) -> ChildProcess | str:
        """The child, or why there is none."""
        try:
            return future.result(max(0.0, _until(deadline) - time.monotonic()))
        except TimeoutError:
            if not future.cancel():  # it came just now
                return future.result()
            return "the zygote did not fork in time"
        except SandboxError as error:
            return str(error)

    def _fail(self, zygote: ZygoteProcess, reason: str) -> None:
        """Give up on a zygote whose children do not come, or do not get ready."""
        with self._lock:
            if self._zygote is zygote:
                self._zygote = None
                self._drop_spares()
            zygote.close()
            self._count_failure(reason)

    def _count_failure(self, reason: str) -> None:
        self._failures += 1
        if self._failures > self._config.max_restarts:
            text = (
                f"the sandbox failed {self._failures} times in a row: {reason}. Nothing runs without its walls; it is "
                f"tried again after {_REST_S:g} s"
            )
            self._given_up = text, time.monotonic() + _REST_S
            raise SandboxUnavailableError(text)

    def _tested(self) -> ZygoteProcess:
        zygote = self._make_zygote()
        zygote.start()
        try:
            child = zygote.fork(probing_limits()).result(_CHILD_TIMEOUT_S)
            try:
                reason = attack(child, self._tier)
            finally:
                child.end()
        except (SandboxError, TimeoutError) as error:
            reason = str(error) or "the zygote did not fork in time"
        if reason is not None:
            zygote.close()
            raise SandboxUnavailableError(reason)
        return zygote

    def _refill(self) -> None:
        zygote = self._zygote
        while zygote is not None and zygote.is_alive and len(self._spares) < self._config.spares:
            self._spares.append(zygote.fork(self._usual, warm=not self._hurried))

    def _drop_spares(self) -> None:
        """End the children that nobody will take; one that has not come yet is ended when it comes."""
        while self._spares:
            spare = self._spares.popleft()
            if not spare.cancel() and spare.exception() is None:
                spare.result().end()

    def _replace(self) -> None:
        """Put a new zygote in place of the one that has served long enough."""
        try:
            fresh: ZygoteProcess | None = self._tested()
        except SandboxUnavailableError:
            fresh = None  # the former one goes on, and the next child asks again
        with self._lock:
            self._replacing = False
            if fresh is None:
                return
            if self._closed:
                fresh.close()
                return
            former, self._zygote = self._zygote, fresh
            self._drop_spares()
            self._refill()
            if former is not None and former in self._used:
                self._retired.add(former)
            elif former is not None:
                former.close()


def _until(deadline: float) -> float:
    """The deadline of one child: not later than its caller's, and never for ever."""
    return min(deadline, time.monotonic() + _CHILD_TIMEOUT_S)
