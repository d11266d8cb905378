"""`VllmEngine`: the engine that serves, vLLM's asynchronous engine around one artifact.

Differences from using vLLM directly:

1. A CPU serves in one computing process, not two: vLLM puts a worker process below its core for the sake of thread
   settings, which we give to the core instead. It starts sooner, and takes half a gigabyte less.
2. That process is started before vLLM is imported here, so that both imports run side by side (`engine_process`).
3. No request stops the engine: values are checked (`validation`), seeds are made safe on CPUs (`seeds`), and LoRA,
   which kills vLLM with quantized experts on a CPU, is never switched on.
4. An artifact without kernels on this machine is served as a bf16 copy (`kernels`, `materialize`).
5. The loaded weights must reproduce the artifact's canary before the first request is let in.
6. A dead process is noticed at once; every open request ends with `EngineDeadError`, and `start` works again.

On a GPU the same calls configure vLLM's GPU worker. Not verified on a GPU.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from moesaic.artifact import ModelArtifact
from moesaic.errors import EngineDeadError, EngineError, RequestError
from moesaic.server.engine.canary_replay import replay_canary
from moesaic.server.engine.engine import Capability, EngineLimits, EngineLoad, EngineState
from moesaic.server.engine.hardware import Machine
from moesaic.server.engine.lifecycle import Lifecycle
from moesaic.server.engine.request import Delta, GenerateRequest
from moesaic.server.engine.validation import check_capabilities, check_sequences, validate
from moesaic.server.engine.vllm_options import choose_artifact
from moesaic.server.engine.vllm_run import VllmRun
from moesaic.server.engine.vllm_settings import VllmSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from moesaic.server.engine.vllm_client import VllmClient
    from moesaic.server.engine.vllm_stream import Stream

__all__ = ["VllmEngine"]

_LONGEST_REST_S = 0.33
"""Text that comes three times a second still reads as a stream."""


class VllmEngine:
    """An `Engine` that computes with vLLM in a process of its own.

    Args:
        artifact: the model to serve.
        settings: how to serve it.
        machine: the machine; detected if not given.

    Attributes:
        artifact: the model as given.
        settings: as given.
        canary_difference: mean |Δ log-probability| (nats) at the last start, None without a canary.
    """

    def __init__(
        self, artifact: ModelArtifact, settings: VllmSettings | None = None, *, machine: Machine | None = None
    ) -> None:
        self.artifact = artifact
        self.settings = settings or VllmSettings()
        self.canary_difference: float | None = None
        facts = artifact.manifest.architecture
        self._machine = machine
        self._context_length = min(self.settings.context_length or facts.context_length, facts.context_length)
        self._lifecycle = Lifecycle(f"the vLLM engine of {artifact.manifest.name}")
        self._tokenizer: PreTrainedTokenizerBase | None = None
        self._run: VllmRun | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._burial: asyncio.Task[None] | None = None
        self._abandoned: set[asyncio.Task[None]] = set()
        self._streams: dict[str, Stream | None] = {}  # None: on its way

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Everything, but a prefix cache only where it is switched on."""
        return frozenset(Capability) - (frozenset() if self.settings.prefix_caching else {Capability.PREFIX_CACHE})

    @property
    def state(self) -> EngineState:
        """Where the engine is in its life."""
        return self._lifecycle.state

    @property
    def limits(self) -> EngineLimits:
        """The ranges of what may be asked; at start the context may shrink to what the cache holds."""
        return EngineLimits(
            context_length=self._context_length,
            vocab_size=self.artifact.manifest.architecture.vocab_size,
            max_n=min(16, self.settings.max_num_seqs),
        )

    @property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """The artifact's tokenizer."""
        if self._tokenizer is None:
            from moesaic.model.tokenizer_files import load_tokenizer

            self._tokenizer = load_tokenizer(self.artifact.folder)
        return self._tokenizer

    @property
    def process_id(self) -> int | None:
        """Process id of what computes, None while nothing does."""
        return None if self._run is None else self._run.process.pid

    @property
    def log_file(self) -> Path | None:
        """Log of vLLM, None while nothing runs."""
        return None if self._run is None else self._run.log.path

    async def start(self) -> None:
        """See `Engine.start`; also raises what `choose_artifact` does."""
        async with self._lifecycle.lock:
            if self.state is EngineState.READY:
                return

            await self._free()
            self._lifecycle.starting()
            try:
                async with asyncio.timeout(self.settings.start_timeout_s):
                    await self._start()
            except BaseException as error:
                self._lifecycle.failed(f"it did not start ({type(error).__name__}: {error})")
                await self._free(keep_log=isinstance(error, EngineError))
                if isinstance(error, TimeoutError):
                    raise EngineError(
                        f"{self.artifact.folder} was not up after start_timeout_s={self.settings.start_timeout_s:g}; "
                        "allow more time (compilation takes minutes), or look for what else uses this machine"
                    ) from error
                raise

            self._lifecycle.ready()

    async def stop(self) -> None:
        """See `Engine.stop`."""
        async with self._lifecycle.lock:
            if self._watcher is not None:
                self._watcher.cancel()
            self._lifecycle.stopped()
            if self._run is not None and self._burial is None:
                # Their last outputs lie ready before the process ends.
                await self._run.client.abort([stream.internal_id for stream in self._streams.values() if stream])
            await self._free()

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Delta, None]:
        """See `Engine.generate`."""
        self._lifecycle.require_ready()
        validate(request, self.limits)
        check_capabilities(request, self.capabilities, self._lifecycle.name)
        return self._generate(request)

    async def score(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """See `Engine.score`; as many sequences at a time as the engine computes at once."""
        self._lifecycle.require_ready()
        check_sequences(sequences, self.limits)
        return await self._score(sequences)

    async def abort(self, request_id: str) -> bool:
        """See `Engine.abort`."""
        stream = self._streams.get(request_id)
        if stream is None or self._run is None:
            return False

        await self._run.client.abort([stream.internal_id])
        return True

    def load(self) -> EngineLoad:
        """See `Engine.load`."""
        return EngineLoad() if self.state is not EngineState.READY or self._run is None else self._run.client.load

    async def wait_failed(self) -> EngineDeadError:
        """See `Engine.wait_failed`."""
        return await self._lifecycle.wait_failed()

    async def _start(self) -> None:
        machine = self._machine
        if machine is None:
            machine = await asyncio.to_thread(Machine.detect)
        artifact = await asyncio.to_thread(choose_artifact, self.artifact, self.settings, machine)
        run = self._run = VllmRun(artifact, self.settings, machine)
        await run.open()
        self._watcher = asyncio.create_task(self._watch(run))
        await asyncio.to_thread(lambda: self.tokenizer)
        self._context_length = min(self._context_length, run.client.context_length)
        self.canary_difference = await replay_canary(
            self.artifact,
            self._score,
            lambda probes: run.unless_ended(run.client.run_probes(probes)),
            self.settings.dtype,
        )

    async def _generate(self, request: GenerateRequest) -> AsyncGenerator[Delta, None]:
        async with self._opened(request.request_id, lambda client: client.submit(request)) as stream:
            while not stream.finished:
                for delta in await stream.deltas(request):
                    yield delta
                # What one stream has to itself is given token by token; the more there are, the more gathers.
                pause_s = min(_LONGEST_REST_S, self.settings.gather_s * (len(self._streams) - 1))
                if pause_s > 0 and not stream.finished:
                    await stream.rest(pause_s)

    async def _score(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        slots = asyncio.Semaphore(self.settings.max_num_seqs)

        async def one(sequence: Sequence[int]) -> list[float]:
            if len(sequence) < 2:
                return []

            name = f"score-{uuid.uuid4().hex}"
            async with slots, self._opened(name, lambda client: client.submit_score(name, sequence)) as stream:
                return await stream.logprobs(sequence)

        tasks = [asyncio.ensure_future(one(sequence)) for sequence in sequences]
        try:
            return await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    @asynccontextmanager
    async def _opened(
        self, name: str, submit: "Callable[[VllmClient], Awaitable[Stream]]"
    ) -> AsyncGenerator["Stream", None]:
        """Have a request in flight for the block; leaving the block early aborts it."""
        run = self._run
        if run is None:
            raise EngineError(f"{self._lifecycle.name} is {self.state}: await start() before asking it")
        if name in self._streams:
            raise RequestError("request_id", f"{name!r} is in flight already; names are used once")

        self._streams[name] = None
        try:
            stream = self._streams[name] = await self._submitted(run, submit)
            try:
                yield stream
            finally:
                if not stream.finished:
                    await run.client.abort([stream.internal_id])
        except EngineDeadError:
            if run is not self._run:
                raise EngineError(f"{self._lifecycle.name} was stopped; the request {name!r} is lost") from None
            self._bury(run)
            raise EngineDeadError(str(await self._lifecycle.wait_failed())) from None
        finally:
            del self._streams[name]

    async def _submitted(self, run: VllmRun, submit: "Callable[[VllmClient], Awaitable[Stream]]") -> "Stream":
        """Enter a request; whoever is cancelled meanwhile leaves nothing in the engine."""
        submission = asyncio.ensure_future(submit(run.client))
        try:
            return await asyncio.shield(submission)
        except asyncio.CancelledError:

            async def abandon() -> None:
                with contextlib.suppress(EngineError):  # refused, or dead: nothing is in flight
                    await run.client.abort([(await submission).internal_id])

            task = asyncio.create_task(abandon())
            self._abandoned.add(task)
            task.add_done_callback(self._abandoned.discard)
            raise

    async def _watch(self, run: VllmRun) -> None:
        await run.ended.wait()
        self._bury(run)

    def _bury(self, run: VllmRun) -> None:
        """See to a dead process, once: find the reason, tell everyone, free everything."""
        if self._burial is None:
            self._burial = asyncio.create_task(self._buried(run))

    async def _buried(self, run: VllmRun) -> None:
        reason = await run.last_words() or "vLLM's engine stopped answering"
        error = self._lifecycle.failed(f"{reason.rstrip('.')}. Its log is {run.log.path}")
        for stream in self._streams.values():
            if stream is not None:
                stream.fail(EngineDeadError(str(error)))
        await run.close(keep_log=True)

    async def _free(self, *, keep_log: bool = False) -> None:
        """End whatever runs."""
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None
        if self._burial is not None:
            await asyncio.shield(self._burial)
            self._burial = self._run = None
        run, self._run = self._run, None
        if run is not None:
            await run.close(keep_log=keep_log)
