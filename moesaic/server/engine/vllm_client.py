"""vLLM's asynchronous engine, reduced to the few calls that `VllmEngine` makes. Importing this module imports vLLM.

Nothing of vLLM's own types leaves it: requests and deltas are ours, and so are the errors.
"""

import atexit
import functools
import os
import re
import shutil
import tempfile
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

from vllm import SamplingParams
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.exceptions import GracefulHTTPError, VLLMClientError
from vllm.inputs.engine import tokens_input
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.core_client import BackgroundResources
from vllm.v1.engine.exceptions import EngineDeadError as VllmDeadError
from vllm.v1.metrics.loggers import PrometheusStatLogger, StatLoggerBase

from moesaic.artifact import ExpertProbe
from moesaic.errors import EngineDeadError, EngineError, EngineOverloadedError, RequestError
from moesaic.server.engine.engine import EngineLoad
from moesaic.server.engine.engine_process import EngineProcess, hand_to_vllm
from moesaic.server.engine.loop_share import share_loop
from moesaic.server.engine.request import GenerateRequest
from moesaic.server.engine.vllm_stream import Stream, sampling_params

__all__ = ["VllmClient"]

_LONGEST_SOCKET_PATH = 107
_SOCKET_NAME_CHARACTERS = 40

_environment_lock = threading.Lock()

# xgrammar names the line of its own source that complains.
_SOURCE_PLACE = re.compile(r"\[[0-9:]+\] \S+:\d+: ")


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
                _count_nothing(self._llm)
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
        share_loop(self._llm.engine_core)
        await self._llm.get_supported_tasks()

    async def submit(self, request: GenerateRequest) -> Stream:
        """Enter a checked request.

        Raises:
            RequestError: the constraint cannot be compiled.
            EngineOverloadedError: the queue is full.
            EngineDeadError: the engine has died.
            EngineError: vLLM refuses the request.
        """
        try:
            parameters = sampling_params(request.sampling)
            return await self._add(request.request_id, request.prompt_token_ids, parameters, request.priority)
        except (VLLMClientError, ValueError) as error:
            raise _refusal(request, error) from error

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
        try:
            return await self._add(name, sequence[:-1], parameters, 0)
        except (VLLMClientError, ValueError) as error:
            raise EngineError(f"vLLM refuses to score: {error}") from error

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

    def stop_listening(self) -> None:
        """Take no further outputs, so that vLLM does not report the end that we bring about as a failure."""
        if self._llm.output_handler is not None:
            self._llm.output_handler.cancel()

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
        return Stream(collector)


def _count_nothing(llm: AsyncLLM) -> None:
    """Have vLLM keep no statistics of its own on this side; the load of the engine core still arrives.

    They are counted for every token, and go to a registry that nobody asks: ours (`moesaic.server.observation`) counts
    once for each call.
    """
    llm.log_stats = llm.output_processor.log_stats = False
    assert llm.logger_manager is not None, "stat_loggers was given"
    loggers = llm.logger_manager.stat_loggers
    loggers[:] = [logger for logger in loggers if not isinstance(logger, PrometheusStatLogger)]


def _refusal(request: GenerateRequest, error: Exception) -> EngineError | RequestError:
    """What vLLM refuses although our validation let it pass: in practice what only a compiler of grammars knows."""
    constraint = request.sampling.constraint
    if constraint is None:
        return EngineError(f"vLLM refuses the request: {error}")

    reason = _SOURCE_PLACE.sub("", str(error))
    return RequestError(f"constraint.{constraint.kind.value}", f"cannot be compiled: {reason}")


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
