"""Tier `monty`: programs in pydantic-monty's interpreter, where the kernel offers no walls, by explicit choice only.

1. It is another language that looks like Python: a subset, without most of the standard library and without numpy,
   sympy and dateutil. A program that leaves the subset comes out as an error.
2. The interpreter has no system calls to offer, and runs in a worker process of its own, which the package keeps.
3. Time asleep is not time computed for it: each has the limit of its own, so that a run may take twice `timeout_s`.
4. Processor time and memory are not told by the package: `usage` has the clock on the wall alone. A program that is
   given up runs on until its limit.

Source: pydantic-monty 1.4.
"""

import json
import math
import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from moesaic.errors import InputError, MissingDependencyError
from moesaic.tools.sandbox.cancellation import Cancellation
from moesaic.tools.sandbox.config import SandboxConfig, Tier
from moesaic.tools.sandbox.conversation import Job
from moesaic.tools.sandbox.exchange import RunLimits
from moesaic.tools.sandbox.execution import Execution, ExecutionStatus, ProgramError, Usage
from moesaic.tools.sandbox.inside.json_value import TOO_LARGE, to_json_value

if TYPE_CHECKING:
    import pydantic_monty

__all__ = ["MontyInterpreter"]

_DEFINES_SOLUTION = re.compile(r"^def\s+solution\s*\(", re.MULTILINE)
_ANSWERS = ("answer", "result")
_GRACE_S = 0.5


class MontyInterpreter:
    """Runs programs; each in a fresh session.

    Raises:
        MissingDependencyError: pydantic-monty is not installed.
    """

    tier = Tier.MONTY

    def __init__(self, config: SandboxConfig) -> None:
        try:
            import pydantic_monty
        except ImportError as error:
            raise MissingDependencyError(
                "the tier monty needs pydantic-monty: install it with `uv pip install 'moesaic[monty]'`"
            ) from error
        self._library = pydantic_monty
        self._pool: pydantic_monty.Monty | None = pydantic_monty.Monty(
            max_processes=config.concurrency, feed_duration_limit_grace=_GRACE_S
        )
        self._pool.__enter__()

    def run(self, jobs: Sequence[Job], limits: RunLimits, cancellation: Cancellation) -> list[Execution]:
        """Run the programs in turn; those that are not begun when the caller gives up are left out."""
        done: list[Execution] = []
        for job in jobs:
            if done and cancellation.requested:
                break
            if job.files is not None:
                raise InputError(f"files need the tier {Tier.NAMESPACES}, and this sandbox runs the tier {self.tier}")
            done.append(self._run(job.program, limits))
        return done

    def close(self) -> None:
        """End its workers."""
        pool, self._pool = self._pool, None  # the last reference: only without it are its descriptors closed
        if pool is not None:
            pool.__exit__(None, None, None)

    def _run(self, program: str, limits: RunLimits) -> Execution:
        printed = _Printed(limits.output_bytes)
        started = time.monotonic()
        value, error = None, None
        try:
            value = _as_json(self._value(program, limits, printed), limits.result_bytes)
            status = ExecutionStatus.OK
        except self._library.MontyError as failure:
            status, error = _judge(failure)
        except (OverflowError, RecursionError, ValueError) as failure:
            too_large = failure.args == (TOO_LARGE,)
            status = ExecutionStatus.RESULT_LIMIT if too_large else ExecutionStatus.NO_RESULT
            error = ProgramError(type=status.value, message=f"the value cannot be returned: {failure}")
        if printed.flooded:
            value, status = None, ExecutionStatus.OUTPUT_LIMIT
            text = f"the program wrote more than {limits.output_bytes} bytes"
            error = ProgramError(type=status.value, message=text)
        return Execution(
            status=status,
            value=value,
            stdout=printed.text("stdout"),
            stderr=printed.text("stderr"),
            error=error,
            usage=Usage(wall_s=time.monotonic() - started, cpu_s=0.0, max_rss_bytes=0),
            tier=self.tier,
        )

    def _value(self, program: str, limits: RunLimits, printed: "_Printed") -> Any:
        """The program's value by the rules of every tier."""
        resources: pydantic_monty.ResourceLimits = {
            "max_feed_duration_secs": limits.timeout_s,
            "max_memory": limits.memory_bytes,
            "max_total_sleep_secs": limits.timeout_s,
        }
        policy: pydantic_monty.OSPolicy = {"sleep": "system", "sleep_system_max": math.inf}
        assert self._pool is not None, "the interpreter is closed"
        session = self._pool.checkout(script_name="program.py", limits=resources, os_policy=policy)
        with session as opened:
            if _DEFINES_SOLUTION.search(program):
                return opened.feed_run(f"{program}\nsolution()", print_callback=printed)

            value = opened.feed_run(program, print_callback=printed)
            for name in ("solution", *_ANSWERS):
                if re.search(rf"\b{name}\b", program):
                    try:
                        return opened.feed_run(name, print_callback=printed)
                    except self._library.MontyRuntimeError as error:
                        if not isinstance(error.exception(), NameError):
                            raise
            return value


class _Printed:
    """What a program printed, up to a limit."""

    def __init__(self, most_bytes: int) -> None:
        self.flooded = False
        self._left = most_bytes
        self._parts: dict[str, list[str]] = {"stdout": [], "stderr": []}

    def __call__(self, stream: str, text: str) -> None:
        encoded = text.encode("utf-8", "replace")
        self.flooded = self.flooded or len(encoded) > self._left
        self._parts[stream].append(encoded[: self._left].decode("utf-8", "ignore"))
        self._left -= min(self._left, len(encoded))

    def text(self, stream: str) -> str:
        return "".join(self._parts[stream])


def _as_json(value: Any, most_bytes: int) -> Any:
    plain = to_json_value(value, most_bytes)
    if len(json.dumps(plain, ensure_ascii=False).encode()) > most_bytes:
        raise OverflowError(TOO_LARGE)
    return plain


def _judge(failure: "pydantic_monty.MontyError") -> tuple[ExecutionStatus, ProgramError]:
    raised = failure.exception()
    status = ExecutionStatus.ERROR
    if type(failure).__name__ == "MontyCrashedError":
        timed_out = bool(getattr(failure, "timed_out", False))
        status = ExecutionStatus.TIMEOUT if timed_out else ExecutionStatus.CRASHED
    elif isinstance(raised, MemoryError):
        status = ExecutionStatus.MEMORY
    elif isinstance(raised, TimeoutError) and "limit exceeded" in str(raised):
        status = ExecutionStatus.TIMEOUT
    kind = type(raised).__name__ if status is ExecutionStatus.ERROR else status.value
    display = getattr(failure, "display", None)
    trace = display("traceback") if status is ExecutionStatus.ERROR and display else ""
    return status, ProgramError(type=kind, message=str(raised)[:2000], traceback=trace[-8000:])
