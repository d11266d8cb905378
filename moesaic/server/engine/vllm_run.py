"""One life of a vLLM engine, from the start of its process to the end of its log."""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from moesaic.artifact import ModelArtifact
from moesaic.errors import EngineDeadError, EngineError, MoesaicError
from moesaic.server.engine.engine_log import EngineLog
from moesaic.server.engine.engine_process import EngineProcess
from moesaic.server.engine.hardware import Machine
from moesaic.server.engine.vllm_options import engine_options, process_environment, process_modules
from moesaic.server.engine.vllm_settings import VllmSettings

if TYPE_CHECKING:
    from moesaic.server.engine.vllm_client import VllmClient

__all__ = ["VllmRun"]

Result = TypeVar("Result")

_LOOK_S = 0.5  # how often vLLM is asked; the system tells of a dead process by itself
_CAUSE_CHARACTERS = 500
_LAST_WORDS_S = 1.0  # how long a dying process may take to say why


class VllmRun:
    """A log, a process and, once it is up, a client.

    Attributes:
        client: what talks to the process; absent until `open` returns.
        process: what computes.
        log: what vLLM logs.
        ended: set when the process has ended.
    """

    client: "VllmClient"

    def __init__(self, artifact: ModelArtifact, settings: VllmSettings, machine: Machine) -> None:
        self._artifact = artifact
        self._options = engine_options(artifact, settings, machine)
        self._folder = Path(tempfile.mkdtemp(prefix="moesaic-engine-"))
        self.log = EngineLog(settings.log_file)
        self.process = EngineProcess(
            environment=process_environment(settings, machine, self._folder),
            log=self.log.path,
            modules=process_modules(artifact, machine),
        )
        self.log.take_over()
        self.ended = asyncio.Event()
        self._lost_worker: int | None = None
        self._watcher: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Load the model.

        Raises `EngineError` with the cause if vLLM fails. If this is cancelled, the process is killed at once; the
        thread that waits for it notices that by itself.
        """
        building = asyncio.ensure_future(asyncio.to_thread(self._build))
        try:
            self.client = await asyncio.shield(building)
            self._watcher = asyncio.create_task(self._watch())
            await self.unless_ended(self.client.warm_up())
        except asyncio.CancelledError:
            self.process.kill()
            building.add_done_callback(_discard)
            raise
        except MoesaicError:
            raise
        except Exception as error:
            words = await self.last_words()
            if self.process.is_alive():  # it waits for work: the error was on this side
                words = f"{type(error).__name__}: {error}"
            cause = " ".join((words or "for no reason that it gave").split())[:_CAUSE_CHARACTERS].rstrip(".")
            raise EngineError(
                f"vLLM could not start {self._artifact.folder}: {cause}. Its log is {self.log.path}"
            ) from error

    async def unless_ended(self, call: Awaitable[Result]) -> Result:
        """Wait for a call that vLLM would never answer if its process ended; raises `EngineDeadError` then."""
        calling, ending = asyncio.ensure_future(call), asyncio.ensure_future(self.ended.wait())
        try:
            await asyncio.wait({calling, ending}, return_when=asyncio.FIRST_COMPLETED)
            if calling.done():
                return calling.result()

            raise EngineDeadError(await self.last_words() or "vLLM's engine stopped answering")
        finally:
            calling.cancel()
            ending.cancel()

    async def last_words(self) -> str | None:
        """Why the process ended: in its own words, from its log, or by its exit status; None if it has not ended."""
        if self._lost_worker is not None:
            return f"its worker process {self._lost_worker} ended"

        await asyncio.to_thread(self.process.join, _LAST_WORDS_S)
        words = self.process.error() or self.log.cause()
        status = self.process.exitcode
        if status is not None and status < 0:
            name = signal.Signals(-status).name
            hint = " (by the system, for lack of memory?)" if status == -signal.SIGKILL else ""
            return f"its process {self.process.pid} was ended by {name}{hint}"

        return words or (None if status is None else f"its process {self.process.pid} exited with status {status}")

    async def close(self, *, keep_log: bool) -> None:
        """End the process and all that it started."""
        client = getattr(self, "client", None)
        if client is not None:
            client.stop_listening()
        await asyncio.to_thread(self._close)
        if self._watcher is not None:
            self._watcher.cancel()
        if client is not None:
            client.release()
        self.log.close(keep=keep_log)

    async def _watch(self) -> None:
        """Set `ended` when the process or one of its workers ends, or when vLLM takes it for dead.

        The system tells of an ended process at once. vLLM would first try for ten seconds to end the other workers.
        """
        loop = asyncio.get_running_loop()
        workers: list[int] = []
        for pid in self.process.workers():
            try:
                workers.append(os.pidfd_open(pid))
            except ProcessLookupError:
                self._worker_ended(pid)
            else:
                loop.add_reader(workers[-1], self._worker_ended, pid)
        loop.add_reader(self.process.sentinel, self.ended.set)
        try:
            while not self.ended.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.ended.wait(), _LOOK_S)
                if self.client.dead:
                    self.ended.set()
        finally:
            loop.remove_reader(self.process.sentinel)
            for descriptor in workers:
                loop.remove_reader(descriptor)
                os.close(descriptor)

    def _worker_ended(self, pid: int) -> None:
        if not self.ended.is_set():
            self._lost_worker = pid
            self.ended.set()

    def _build(self) -> "VllmClient":
        from moesaic.server.engine.vllm_client import VllmClient

        return VllmClient(self._options, self.process)

    def _close(self) -> None:
        client = getattr(self, "client", None)
        if self.ended.is_set():
            self.process.kill()  # nothing of it can be saved, and asking takes time
        if client is not None:
            client.shutdown()
        self.process.kill()
        self.process.join()
        shutil.rmtree(self._folder, ignore_errors=True)


def _discard(building: "asyncio.Future[VllmClient]") -> None:
    """Nobody waits for this engine any more: free what came of it."""
    if not building.cancelled() and building.exception() is None:
        building.result().shutdown()
