"""vLLM's asynchronous engine, reduced to the few calls that `VllmEngine` makes. Importing this module imports vLLM.

Nothing of vLLM's own types leaves it: requests and deltas are ours, and so are the errors.
"""

import atexit
import functools
import os
import shutil
import tempfile
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

from vllm import SamplingParams
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.exceptions import GracefulHTTPError, VLLMClientError
from vllm.inputs.engine import tokens_input
from vllm.logprobs import Logprob
from vllm.outputs import CompletionOutput, RequestOutput
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.core_client import BackgroundResources
from vllm.v1.engine.exceptions import EngineDeadError as VllmDeadError
from vllm.v1.engine.output_processor import RequestOutputCollector
from vllm.v1.metrics.loggers import StatLoggerBase

from moesaic.artifact import ExpertProbe
from moesaic.errors import EngineDeadError, EngineError, EngineOverloadedError
from moesaic.server.engine.engine import EngineLoad
from moesaic.server.engine.engine_process import EngineProcess, hand_to_vllm
from moesaic.server.engine.request import Delta, FinishReason, GenerateRequest, SamplingParameters, TokenLogprob, Usage

__all__ = ["Stream", "VllmClient"]

_LEAST_TEMPERATURE = 0.01
_LONGEST_SOCKET_PATH = 107
_SOCKET_NAME_CHARACTERS = 40

_environment_lock = threading.Lock()


class _Gauge(StatLoggerBase):
    """Keeps the last load that the engine core reported."""

    def __init__(self) -> None:
        self.load = EngineLoad()

    def record(
        self, scheduler_stats: Any, iteration_stats: Any, mm_cache_stats: Any = None, engine_idx: int = 0
    ) -> None:
        if scheduler_stats is not None:
            self.load = EngineLoad(
                running=scheduler_stats.num_running_reqs,
                waiting=scheduler_stats.num_waiting_reqs + scheduler_stats.num_skipped_waiting_reqs,
                kv_cache_usage=scheduler_stats.kv_cache_usage,
            )

    def log_engine_initialized(self) -> None:
        """Nothing to say."""


class Stream:
    """The answer to one request, as it arrives.

    Attributes:
        finished: whether vLLM has given the last of it.
    """

    def __init__(self, collector: RequestOutputCollector) -> None:
        self._collector = collector
        self._generated = 0
        self.finished = False

    @property
    def internal_id(self) -> str:
        """Name that vLLM gave to the request."""
        return self._collector.request_id

    async def deltas(self, request: GenerateRequest) -> list[Delta]:
        """Wait for what is new; the last delta of a finished request carries its usage.

        Raises `EngineDeadError` if the engine died, `EngineError` if it failed on this request.
        """
        output = await self._next()
        built = [_delta(request, completion) for completion in output.outputs]
        self._generated += sum(len(delta.token_ids) for delta in built)
        if output.finished and built:
            usage = Usage(
                prompt_tokens=len(request.prompt_token_ids),
                completion_tokens=self._generated,
                cached_tokens=output.num_cached_tokens or 0,
            )
            built[-1] = replace(built[-1], usage=usage)
        return built

    async def logprobs(self, sequence: Sequence[int]) -> list[float]:
        """Wait for the log-probabilities of a scored sequence, of every token but the first."""
        output = await self._next()
        (completion,) = output.outputs
        # The first position of a prompt has no log-probability; the last token of the sequence was generated.
        positions = [*list(output.prompt_logprobs or ())[1:], *(completion.logprobs or ())]
        return [position[token].logprob for token, position in zip(sequence[1:], positions, strict=True)]

    async def _next(self) -> RequestOutput:
        try:
            output = self._collector.get_nowait() or await self._collector.get()
        except VllmDeadError as error:
            raise EngineDeadError("vLLM's engine process ended") from error
        except EngineDeadError:
            raise
        except Exception as error:  # vLLM hands over whatever its output loop met
            raise EngineError(f"vLLM failed on the request: {type(error).__name__}: {error}") from error
        self.finished = output.finished
        return cast(RequestOutput, output)

    def fail(self, error: Exception) -> None:
        """Let whoever waits meet `error`."""
        self._collector.put(error)


class VllmClient:
    """One running vLLM engine.

    Building it blocks until the model is loaded; do it in a thread of its own. The calls that follow belong to one
    event loop.

    Args:
        options: arguments of vLLM's `AsyncEngineArgs`.
        process: the process that will compute.
    """

    def __init__(self, options: Mapping[str, Any], process: EngineProcess) -> None:
        self._gauge = _Gauge()
        _keep_sockets_private()
        arguments = AsyncEngineArgs(**options)
        with _environment_restored() as changes:
            config = arguments.create_engine_config()
        # vLLM sets variables here for the children that it starts; this child has started already.
        process.complete_environment(changes)
        try:
            with hand_to_vllm(process):
                self._llm = AsyncLLM.from_vllm_config(
                    config, disable_log_stats=True, stat_loggers=[lambda config, index: self._gauge]
                )
        except BaseException as error:
            for frame, _ in traceback.walk_tb(error.__traceback__):
                resources = getattr(frame.f_locals.get("self"), "resources", None)
                if isinstance(resources, BackgroundResources):
                    _close(resources)
            raise

    @property
    def context_length(self) -> int:
        """Most tokens of prompt and answer, after the engine fitted them into the cache."""
        return int(self._llm.model_config.max_model_len)

    @property
    def dead(self) -> bool:
        """Whether the engine noticed that its process ended."""
        return bool(self._llm.errored)

    @property
    def load(self) -> EngineLoad:
        """The load of the last step."""
        return self._gauge.load

    async def warm_up(self) -> None:
        """Start listening to the engine; afterwards `submit` waits for nothing before the request is known."""
        await self._llm.get_supported_tasks()

    async def submit(self, request: GenerateRequest) -> Stream:
        """Enter a checked request.

        Raises:
            EngineOverloadedError: the queue is full.
            EngineDeadError: the engine has died.
            EngineError: vLLM refuses the request.
        """
        return await self._add(
            request.request_id, request.prompt_token_ids, _parameters(request.sampling), request.priority
        )

    async def submit_score(self, name: str, sequence: Sequence[int]) -> Stream:
        """Enter a sequence of at least two tokens to be scored.

        Its last token is generated, by force: so the prompt is shorter than the context, as vLLM requires.
        """
        parameters = SamplingParams(
            max_tokens=1,
            temperature=0.0,
            allowed_token_ids=[sequence[-1]],
            ignore_eos=True,
            logprobs=0,
            prompt_logprobs=0,
            detokenize=False,
            flat_logprobs=True,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        return await self._add(name, sequence[:-1], parameters, 0)

    async def run_probes(self, probes: Sequence[ExpertProbe]) -> list[list[list[float]]]:
        """What the loaded mixture layers give for expert probes; see `moesaic.server.engine.probe_worker`."""
        requests = [(probe.layer, probe.seed, list(probe.tokens)) for probe in probes]
        try:
            by_rank = await self._llm.collective_rpc("run_expert_probes", args=(requests,))
        except VllmDeadError as error:
            raise EngineDeadError("vLLM's engine process ended") from error
        except Exception as error:  # vLLM hands over whatever its worker met
            raise EngineError(f"vLLM failed on the expert probes: {type(error).__name__}: {error}") from error
        return cast(list[list[list[float]]], by_rank[0])

    async def abort(self, internal_ids: Sequence[str]) -> None:
        """End requests by vLLM's own names; each gets a last output that says so."""
        if not self.dead:
            await self._llm.abort(list(internal_ids), internal=True)

    def shutdown(self) -> None:
        """End the engine's process; blocks until it has ended, or was killed."""
        self._llm.shutdown()
        # vLLM's engine shuts down again when it is collected, which may be after its modules are gone.
        self._llm.shutdown = lambda timeout=None: None

    def release(self) -> None:
        """Close what vLLM leaves open; after `shutdown`, in the event loop."""
        _close(self._llm.engine_core.resources)

    async def _add(self, name: str, prompt: Sequence[int], parameters: SamplingParams, priority: int) -> Stream:
        try:
            collector = await self._llm.add_request(name, tokens_input(list(prompt)), parameters, priority=priority)
        except VllmDeadError as error:
            raise EngineDeadError("vLLM's engine process ended") from error
        except GracefulHTTPError as error:
            raise EngineOverloadedError(f"too many requests wait in vLLM ({error}); try again later") from error
        except (VLLMClientError, ValueError) as error:
            raise EngineError(f"vLLM refuses the request: {error}") from error
        return Stream(collector)


def _close(resources: BackgroundResources) -> None:
    """Close what vLLM leaves to the garbage collector: a context of sockets, with its threads."""
    for socket in (resources.input_socket, resources.output_socket):
        if socket is not None:
            socket.close(linger=0)  # an open one would let the next line wait for ever
    resources.ctx.term()


@functools.cache
def _keep_sockets_private() -> None:
    """Give vLLM's sockets a folder of this process: it would leave them in the folder that everybody writes to."""
    if "VLLM_RPC_BASE_PATH" in os.environ:
        return

    folder = tempfile.mkdtemp(prefix="moesaic-")
    if len(folder) + _SOCKET_NAME_CHARACTERS < _LONGEST_SOCKET_PATH:
        os.environ["VLLM_RPC_BASE_PATH"] = folder
    atexit.register(shutil.rmtree, folder, ignore_errors=True)


@contextmanager
def _environment_restored() -> Iterator[dict[str, str]]:
    """Give, after the block, the variables that it set, and take them back."""
    changes: dict[str, str] = {}
    with _environment_lock:
        before = dict(os.environ)
        try:
            yield changes
        finally:
            changes.update({name: value for name, value in os.environ.items() if before.get(name) != value})
            for name in changes:
                if name in before:
                    os.environ[name] = before[name]
                else:
                    del os.environ[name]


def _parameters(sampling: SamplingParameters) -> SamplingParams:
    """Sampling parameters as vLLM takes them; what `validation` lets pass, it does not refuse."""
    return SamplingParams(
        n=sampling.n,
        max_tokens=sampling.max_tokens,
        # Between 0 and its least temperature vLLM takes the latter, with a warning for each request.
        temperature=max(sampling.temperature, _LEAST_TEMPERATURE) if sampling.temperature else 0.0,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        repetition_penalty=sampling.repetition_penalty,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        stop=list(sampling.stop),
        stop_token_ids=list(sampling.stop_token_ids),
        ignore_eos=sampling.ignore_eos,
        seed=sampling.seed,
        logprobs=sampling.logprobs,
        output_kind=RequestOutputKind.DELTA,
    )


def _delta(request: GenerateRequest, completion: CompletionOutput) -> Delta:
    """Ours for vLLM's; `completion.logprobs` holds, for each token, the token itself and the most likely ones."""
    token_ids = tuple(completion.token_ids)
    wanted = request.sampling.logprobs
    chosen: tuple[float, ...] | None = None
    top: tuple[tuple[TokenLogprob, ...], ...] | None = None
    if wanted is not None:
        positions = list(completion.logprobs or ())
        chosen = tuple(position[token].logprob for token, position in zip(token_ids, positions, strict=True))
        top = tuple(_most_likely(position, wanted) for position in positions) if wanted else None
    return Delta(
        request_id=request.request_id,
        index=completion.index,
        text=completion.text,
        token_ids=token_ids,
        logprobs=chosen,
        top_logprobs=top,
        finish_reason=FinishReason(completion.finish_reason) if completion.finish_reason else None,
    )


def _most_likely(position: Mapping[int, Logprob], count: int) -> tuple[TokenLogprob, ...]:
    ranked = sorted(position.items(), key=lambda item: (item[1].rank or 0, item[0]))
    return tuple(TokenLogprob(token_id, logprob.logprob) for token_id, logprob in ranked[:count])
