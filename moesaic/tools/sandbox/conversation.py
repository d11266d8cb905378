"""Programs and their outcomes, to and from one child, and what they mean.

1. The clock is this process's. At the deadline, at too much output, or when the caller gives up, the child is killed.
2. As soon as an outcome is there, what the child took is read from outside. Where there is none, the zygote's `wait4`
   says how the child ended. What a program claims counts only where a program may claim it.
3. A child goes on to a further program only if it sent one well-formed frame and nothing else.
"""

import json
import os
import signal
import time
from collections.abc import Mapping
from typing import NamedTuple

from moesaic.tools.sandbox.cancellation import Cancellation
from moesaic.tools.sandbox.child_process import ChildProcess, Exit, Observation
from moesaic.tools.sandbox.config import Tier
from moesaic.tools.sandbox.exchange import Ending, Exchange, RunLimits
from moesaic.tools.sandbox.execution import Execution, ExecutionStatus, ProgramError, Usage
from moesaic.tools.sandbox.inside.messages import JOB_HEAD
from moesaic.tools.sandbox.result_frame import MalformedFrame, Result

__all__ = ["Conversation", "Job"]

_EXIT_TIMEOUT_S = 30.0  # a zygote that tells nothing is found by its heart-beat long before
_FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP}

_Verdict = tuple[ExecutionStatus, ProgramError | None]


class Job(NamedTuple):
    """One program and its files, as they are sent."""

    program: str
    files: Mapping[str, bytes] | None
    """None where the program has no working directory."""

    def encoded(self, result_bytes: int) -> bytes:
        """The bytes that go to the child; see `JOB_HEAD`."""
        program = self.program.encode("utf-8", "surrogatepass")
        if not self.files:
            return JOB_HEAD.pack(len(program), 0, result_bytes) + program
        listed = json.dumps([[name, len(content)] for name, content in self.files.items()]).encode()
        head = JOB_HEAD.pack(len(program), len(listed), result_bytes)
        return b"".join((head, program, listed, *self.files.values()))


class Conversation:
    """What is said to one child; `usable` tells whether it may be sent a further program."""

    def __init__(self, child: ChildProcess, tier: Tier, cancellation: Cancellation) -> None:
        self._child = child
        self._tier = tier
        self._cancellation = cancellation
        self._pipes = {child.output, child.errors, child.results}
        self._before = Observation(child.cpu_s() or 0.0, 0)
        self.usable = True
        cancellation.when_requested(child.kill)

    def run(self, job: Job, limits: RunLimits, *, last: bool) -> Execution:
        """Have one program run; with `last` the child is ended as soon as there is an outcome.

        The peak of memory is the process's so far; it is looked up for the last program only.
        """
        exchange = Exchange(self._child, limits, self._pipes)
        started = time.monotonic()
        ending = exchange.talk(job.encoded(limits.result_bytes), started + limits.timeout_s)
        wall_s = time.monotonic() - started
        result = exchange.result()
        seen = self._child.observe(peak=last) if ending is Ending.FRAME else None
        if last or seen is None or exchange.has_more or not isinstance(result, Result):
            self.usable = False
            self._child.kill()
        exit_ = None
        if seen is None:
            exit_ = self._child.wait_exit(_EXIT_TIMEOUT_S)
            seen = self._before if exit_ is None else Observation(exit_.cpu_s, exit_.max_rss_bytes)
        status, error = self._judge(ending, result, exit_, limits)
        usage = Usage(wall_s=wall_s, cpu_s=max(0.0, seen.cpu_s - self._before.cpu_s), max_rss_bytes=seen.max_rss_bytes)
        self._before = seen
        return Execution(
            status=status,
            value=result.value if status is ExecutionStatus.OK and isinstance(result, Result) else None,
            stdout=exchange.stdout.decode("utf-8", "replace"),
            stderr=exchange.stderr.decode("utf-8", "replace"),
            error=error,
            usage=usage,
            tier=self._tier,
        )

    def can_take(self, timeout_s: float) -> bool:
        """Whether a further program may run for as long as this before the kernel's limit on processor time."""
        return self.usable and self._before.cpu_s + timeout_s < self._child.limits.cpu_s

    def _judge(
        self, ending: Ending, result: Result | MalformedFrame | None, exit_: Exit | None, limits: RunLimits
    ) -> _Verdict:
        if ending is Ending.FRAME and isinstance(result, Result):
            return result.status, result.error
        if self._cancellation.requested:
            return _without_value(ExecutionStatus.CANCELLED, "the caller gave the run up")
        if ending is Ending.TIMEOUT:
            return _without_value(ExecutionStatus.TIMEOUT, f"the program ran longer than {limits.timeout_s:g} s")
        if ending is Ending.OUTPUT_LIMIT:
            text = f"the program wrote more than {limits.output_bytes} bytes"
            return _without_value(ExecutionStatus.OUTPUT_LIMIT, text)
        if ending is Ending.RESULT_LIMIT:
            text = f"the program's value takes more than {limits.result_bytes} bytes"
            return _without_value(ExecutionStatus.RESULT_LIMIT, text)
        if isinstance(result, MalformedFrame):
            return _without_value(ExecutionStatus.NO_RESULT, result.reason)
        return _judge_exit(exit_, self._child.limits.cpu_s)


def _without_value(status: ExecutionStatus, message: str) -> _Verdict:
    return status, ProgramError(type=status.value, message=message)


def _judge_exit(exit_: Exit | None, cpu_limit_s: int) -> _Verdict:
    """What the manner of a process's end says, where nothing else does."""
    if exit_ is None:
        return _without_value(ExecutionStatus.CRASHED, "the sandbox's own process ended while the program ran")
    if not os.WIFSIGNALED(exit_.status):
        code = os.waitstatus_to_exitcode(exit_.status)
        return _without_value(
            ExecutionStatus.NO_RESULT, f"the program ended its process, status {code}, with no result"
        )

    number = os.WTERMSIG(exit_.status)
    if number == signal.SIGSYS:
        return _without_value(ExecutionStatus.FORBIDDEN, "the program made a system call that ends programs")
    if number == signal.SIGXCPU or (number == signal.SIGKILL and exit_.cpu_s >= cpu_limit_s):
        return _without_value(ExecutionStatus.TIMEOUT, f"the program took more than {cpu_limit_s} s of processor time")
    if number == signal.SIGKILL:
        return _without_value(ExecutionStatus.MEMORY, "the system ended the program, as it does when memory runs out")
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    fault = "a fault ended the program" if number in _FAULTS else "a signal ended the program"
    return _without_value(ExecutionStatus.CRASHED, f"{fault}: {name}")
