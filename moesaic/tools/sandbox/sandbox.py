r"""A sandbox for programs that a model wrote.

    from moesaic.tools.sandbox import Sandbox

    with Sandbox() as sandbox:
        execution = sandbox.run("def solution():\n    return sum(range(10))")
        execution.status, execution.value                  # ok, 45
        sandbox.run_batch(["1 + 1", "2 + 2"])              # programs of one request, in one process
        sandbox.run("open('n.txt').read()", files={"n.txt": b"7"})
    # also: async with, await sandbox.arun(...), await sandbox.arun_batch(...)

Each program runs in a process of its own that was forked from a process without secrets and locked before it was given
the program; docs/sandbox.md says what that withstands, and what it does not. On a machine where no walls can be laid
nothing is run: `SandboxUnavailableError` says why.
"""

import asyncio
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Protocol, Self

from moesaic.errors import InputError, SandboxError
from moesaic.tools.sandbox.cancellation import Cancellation
from moesaic.tools.sandbox.config import SandboxConfig, Tier, checked_limit
from moesaic.tools.sandbox.conversation import Job
from moesaic.tools.sandbox.exchange import RunLimits
from moesaic.tools.sandbox.execution import Execution, ExecutionStatus, ProgramError, Usage
from moesaic.tools.sandbox.forked_programs import ForkedPrograms
from moesaic.tools.sandbox.given_files import checked_files
from moesaic.tools.sandbox.monty import MontyInterpreter
from moesaic.tools.sandbox.places import Places

__all__ = ["Sandbox"]

_MAX_THREADS = 512


class _Programs(Protocol):
    """What runs programs in some tier."""

    tier: Tier

    def run(self, jobs: Sequence[Job], limits: RunLimits, cancellation: Cancellation) -> list[Execution]: ...

    def close(self) -> None: ...


class Sandbox:
    """Runs programs; safe to use from several threads and tasks. It starts with its first program, or by `start`.

    Args:
        config: walls, limits, numbers of processes.
    """

    def __init__(self, config: SandboxConfig | None = None) -> None:
        self.config = config or SandboxConfig()
        self._lock = threading.Lock()
        self._places = Places(self.config.concurrency)
        self._programs: _Programs | None = None
        self._closed = False
        self._end: Callable[[], object] = _nothing
        self._threads = ThreadPoolExecutor(_MAX_THREADS, thread_name_prefix="moesaic-sandbox")

    @property
    def tier(self) -> Tier:
        """The walls that programs run behind; starts the sandbox.

        Raises:
            SandboxUnavailableError: no tier holds here.
        """
        return self._started().tier

    def start(self) -> Self:
        """Choose the tier and start its processes; no effect if that has been done.

        Raises:
            SandboxUnavailableError: no tier holds here.
            MissingDependencyError: the tier monty was asked for and is not installed.
        """
        self._started()
        return self

    def run(
        self,
        program: str,
        *,
        timeout_s: float | None = None,
        memory_bytes: int | None = None,
        output_bytes: int | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> Execution:
        """Run one program. Limits that are not given are those of the configuration.

        Args:
            program: Python text. Its value is what `solution()` returns, else the variable `answer`, else `result`,
                else its last expression.
            timeout_s: longest time in seconds, waiting for a place left out.
            memory_bytes: most memory beyond the interpreter's.
            output_bytes: most bytes on standard output and error together.
            files: contents by name; they appear in the program's working directory, which is writable then (tier
                `namespaces`). An empty mapping gives an empty directory.

        Raises:
            InputError: an argument is out of its range, or this tier has no files.
            SandboxBusyError: no place got free in time.
            SandboxUnavailableError: no tier holds here.
        """
        limits = self._limits(timeout_s, memory_bytes, output_bytes)
        return self._run([self._job(program, files)], limits, Cancellation())[0]

    def run_batch(
        self,
        programs: Sequence[str],
        *,
        timeout_s: float | None = None,
        memory_bytes: int | None = None,
        output_bytes: int | None = None,
    ) -> list[Execution]:
        """Run the programs of one request in one process, one after another, each in a namespace of its own.

        They must trust each other: the process is the same, so that one of them could change what the next one sees.
        The limits hold for each. After one that times out or crashes the rest run in processes of their own.

        Raises:
            InputError: an argument is out of its range.
            SandboxBusyError: no place got free in time.
            SandboxUnavailableError: no tier holds here.
        """
        limits = self._limits(timeout_s, memory_bytes, output_bytes)
        return self._run([self._job(program, None) for program in programs], limits, Cancellation())

    async def arun(
        self,
        program: str,
        *,
        timeout_s: float | None = None,
        memory_bytes: int | None = None,
        output_bytes: int | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> Execution:
        """`run` for code that awaits; cancelling it kills the program at once."""
        limits = self._limits(timeout_s, memory_bytes, output_bytes)
        return (await self._arun([self._job(program, files)], limits))[0]

    async def arun_batch(
        self,
        programs: Sequence[str],
        *,
        timeout_s: float | None = None,
        memory_bytes: int | None = None,
        output_bytes: int | None = None,
    ) -> list[Execution]:
        """`run_batch` for code that awaits; cancelling it kills the program that runs, and the rest is not begun."""
        limits = self._limits(timeout_s, memory_bytes, output_bytes)
        return await self._arun([self._job(program, None) for program in programs], limits)

    def close(self) -> None:
        """End every process; programs that run come out as crashed. A second call has no effect."""
        with self._lock:
            self._closed = True
            self._programs = None
        self._end()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    def _started(self) -> _Programs:
        with self._lock:
            if self._closed:
                raise SandboxError("this sandbox is closed; make a new one")
            if self._programs is None:
                monty = self.config.tier is Tier.MONTY
                self._programs = MontyInterpreter(self.config) if monty else ForkedPrograms.strongest(self.config)
                self._end = weakref.finalize(self, self._programs.close)
            return self._programs

    def _limits(self, timeout_s: float | None, memory_bytes: int | None, output_bytes: int | None) -> RunLimits:
        given = {"timeout_s": timeout_s, "memory_bytes": memory_bytes, "output_bytes": output_bytes}
        checked = {name: checked_limit(name, value) for name, value in given.items() if value is not None}
        return RunLimits(
            timeout_s=checked.get("timeout_s", self.config.timeout_s),
            memory_bytes=int(checked.get("memory_bytes", self.config.memory_bytes)),
            output_bytes=int(checked.get("output_bytes", self.config.output_bytes)),
            result_bytes=self.config.result_bytes,
        )

    def _job(self, program: str, files: Mapping[str, bytes] | None) -> Job:
        if not isinstance(program, str):
            raise InputError(f"the program must be text, not {type(program).__name__}")
        size = len(program.encode("utf-8", "surrogatepass"))
        if size > self.config.program_bytes:
            raise InputError(f"the program has {size} bytes, more than program_bytes={self.config.program_bytes}")
        if files is None:
            return Job(program, None)
        if self.tier is not Tier.NAMESPACES:
            raise InputError(f"files need the tier {Tier.NAMESPACES}, and this sandbox runs the tier {self.tier}")
        return Job(program, checked_files(files, self.config.scratch_bytes))

    def _run(self, jobs: list[Job], limits: RunLimits, cancellation: Cancellation) -> list[Execution]:
        programs = self._started()
        with self._places.taken(self.config.queue_timeout_s, cancellation) as has_place:
            done = programs.run(jobs, limits, cancellation) if has_place else []
        return done + [_not_begun(programs.tier) for _ in jobs[len(done) :]]

    async def _arun(self, jobs: list[Job], limits: RunLimits) -> list[Execution]:
        cancellation = Cancellation()
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._run, jobs, limits, cancellation
            )
        except asyncio.CancelledError:
            cancellation.request()
            raise


def _nothing() -> None:
    """What is to be ended before anything was started."""


def _not_begun(tier: Tier) -> Execution:
    return Execution(
        status=ExecutionStatus.CANCELLED,
        value=None,
        stdout="",
        stderr="",
        error=ProgramError(type=ExecutionStatus.CANCELLED.value, message="the caller gave the run up before it began"),
        usage=Usage(wall_s=0.0, cpu_s=0.0, max_rss_bytes=0),
        tier=tier,
    )
