"""The process that computes: an interpreter that imports vLLM while this one does, and then runs vLLM's engine core.

vLLM starts its core after its own import here, and the core then imports the same again: two waits in a row. This
process is started first and waits for its work; `hand_to_vllm` lets vLLM's launcher take it for one that it started.

- It has an environment of its own (preloaded libraries, threads), and its output goes to a log file.
- An error that ends it is told to this process in words, so that a failed start can say why.
- It ends with this process, even if that is killed. It leads a process group, so that its workers end with it.
- No `__main__` is imported again, so that programs need no guard and notebooks work.
"""

import contextlib
import copy
import dataclasses
import importlib
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

__all__ = ["EngineProcess", "hand_to_vllm", "host"]

_BOOT = (
    "import sys; sys.path[:] = sys.argv[3:]; from moesaic.server.engine.engine_process import host; "
    "host(int(sys.argv[1]), sys.argv[2].split(','))"
)
_PARENT_CHECK_S = 1.0

_handed = threading.local()


class EngineProcess:
    """A running interpreter that waits for its work; vLLM sees it as a `multiprocessing.Process`.

    Args:
        environment: the complete environment of the process.
        log: file that its output is appended to.
        modules: what to import before work arrives.
    """

    name = "EngineCore"

    def __init__(self, *, environment: Mapping[str, str], log: Path, modules: Sequence[str]) -> None:
        self._connection, theirs = multiprocessing.Pipe()
        self._work: tuple[Callable[..., None], dict[str, Any]] | None = None
        self._environment = dict(environment)
        self._late_environment: dict[str, str] = {}
        command = [sys.executable, "-P", "-c", _BOOT, str(theirs.fileno()), ",".join(modules), *sys.path]
        try:
            with log.open("ab") as stream:
                self._process = subprocess.Popen(
                    command,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
        finally:
            theirs.close()
        self.pid = self._process.pid
        self.sentinel = os.pidfd_open(self.pid)
        # Not by hand: threads of vLLM watch it for as long as they have this object.
        weakref.finalize(self, os.close, self.sentinel)

    @property
    def exitcode(self) -> int | None:
        """Exit status, minus the signal that killed it, or None while it runs."""
        return self._process.poll()

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.exitcode is None

    def complete_environment(self, additions: Mapping[str, str]) -> None:
        """Let further variables be set just before the work begins; what `environment` has stays as it is."""
        self._late_environment = {name: value for name, value in additions.items() if name not in self._environment}

    def assign(self, target: Callable[..., None], kwargs: dict[str, Any]) -> None:
        """Set the work; `start` hands it over."""
        self._work = (target, kwargs)

    def start(self) -> None:
        """Hand the work over."""
        assert self._work is not None, "assign() comes first"
        with contextlib.suppress(BrokenPipeError):  # it died while importing: whoever waits for it will see that
            self._connection.send_bytes(ForkingPickler.dumps((self._late_environment, *self._work)))

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def kill(self) -> None:
        """End it and all that it started, at once; no effect on what has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)

    def workers(self) -> list[int]:
        """Process ids of the workers that it started, one for each rank; none where it computes by itself."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        try:
            pids = [int(word) for word in children.read_text().split()]
            return [pid for pid in pids if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()]
        except FileNotFoundError:  # it has just ended, or the kernel does not tell
            return []

    def error(self) -> str | None:
        """What ended it, in its own words; None if it had none."""
        with contextlib.suppress(EOFError, OSError):
            if self._connection.poll():
                return str(self._connection.recv())
        return None


class _HandingContext:
    """Looks like a multiprocessing context whose next process runs already."""

    def __init__(self, process: EngineProcess) -> None:
        self._process = process

    def Process(self, *, target: Callable[..., None], name: str, kwargs: dict[str, Any]) -> EngineProcess:  # noqa: N802
        # The log of that process is ours, so vLLM may write it as it likes, whatever it does in this process.
        config = copy.copy(kwargs["vllm_config"])
        config.logging_config = dataclasses.replace(config.logging_config, configure_logging=True)
        self._process.assign(target, {**kwargs, "vllm_config": config})
        return self._process


@contextlib.contextmanager
def hand_to_vllm(process: EngineProcess) -> Iterator[None]:
    """Let an engine that this thread builds within the block use `process` instead of starting one."""
    from vllm.v1.engine import utils

    if not hasattr(utils.get_mp_context, "moesaic"):
        original = utils.get_mp_context

        def context() -> Any:
            waiting = getattr(_handed, "process", None)
            return original() if waiting is None else _HandingContext(waiting)

        context.moesaic = True  # type: ignore[attr-defined]
        utils.get_mp_context = context

    _handed.process = process
    try:
        yield
    finally:
        _handed.process = None


def host(descriptor: int, modules: Sequence[str]) -> None:
    """Be the process: import, wait for work, do it. Returns never."""
    parent = os.getppid()
    multiprocessing.current_process().name = EngineProcess.name  # vLLM's log lines begin with it
    connection: Connection[str, Any] = Connection(descriptor)
    status = 0
    try:
        for module in modules:
            importlib.import_module(module)
        work = _wait_for_work(connection)
        if work is not None:
            environment, target, kwargs = pickle.loads(work)
            os.environ.update(environment)
            threading.Thread(target=_end_with_parent, args=(connection, parent), daemon=True).start()
            target(**kwargs)
    except SystemExit as exit_:
        status = exit_.code if isinstance(exit_.code, int) else 0
    except BaseException as error:
        status = 1
        traceback.print_exc()
        with contextlib.suppress(OSError):
            connection.send(f"{type(error).__name__}: {error}")
    sys.stdout.flush()
    sys.stderr.flush()
    # The interpreter's own end would take seconds to free what the system frees at once.
    os._exit(status)


def _wait_for_work(connection: Connection) -> bytes | None:
    """The work, or None if the other side gave up or ended before there was any."""
    try:
        return connection.recv_bytes()
    except EOFError:
        return None


def _end_with_parent(connection: Connection, parent: int) -> None:
    """End the process group when the parent has gone. The connection tells at once, unless others hold it open too."""
    gone = False
    while not gone:
        try:
            gone = connection.poll(_PARENT_CHECK_S) or os.getppid() != parent
        except OSError:
            gone = True
    os.killpg(0, signal.SIGKILL)
