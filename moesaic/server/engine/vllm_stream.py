"""One request in vLLM: sampling parameters on the way in, deltas on the way out. Importing this module imports vLLM."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from vllm import SamplingParams
from vllm.logprobs import Logprob
from vllm.outputs import CompletionOutput, RequestOutput
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams
from vllm.v1.engine.exceptions import EngineDeadError as VllmDeadError
from vllm.v1.engine.output_processor import RequestOutputCollector

from moesaic.errors import EngineDeadError, EngineError, RequestError
from moesaic.server.engine.request import (
    Constraint,
    ConstraintKind,
    Delta,
    FinishReason,
    GenerateRequest,
    SamplingParameters,
    TokenLogprob,
    Usage,
)
from moesaic.server.engine.strict_schema import strict_schema, strict_tag

__all__ = ["Stream", "sampling_params"]

_LEAST_TEMPERATURE = 0.01


class Stream:
    """The answer to one request, as it arrives.

    Attributes:
        finished: whether vLLM has given the last of it.
    """

    def __init__(self, collector: RequestOutputCollector) -> None:
        self._collector = collector
        self._generated = 0
        self._ended = False
        self._rest: asyncio.Future[None] | None = None
        self._put = collector.put
        collector.put = self._arrived
        self.finished = False

    @property
    def internal_id(self) -> str:
        """Name that vLLM gave to the request."""
        return self._collector.request_id

    async def deltas(self, request: GenerateRequest) -> list[Delta]:
        """Wait for what is new; the last delta of a finished request carries its usage.

        Raises `EngineDeadError` if the engine died, `EngineError` if it failed on this request, and `RequestError` if
        nothing can fulfil its constraint.
        """
        output = await self._next()
        if any(completion.finish_reason == "error" for completion in output.outputs):
            self.finished = True
            raise _failure(request)
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

    async def rest(self, seconds: float) -> None:
        """Let new tokens gather for a while; not longer than until the request ends.

        Each piece costs the serving process the same, however many tokens it has: with many streams, pieces of one
        token would keep a core busy that computes.
        """
        if self._ended:
            return

        loop = asyncio.get_running_loop()
        rest = self._rest = loop.create_future()
        # All that rest equally long wake together: one turn of the loop sends all their pieces.
        timer = loop.call_later(seconds - loop.time() % seconds, _wake, rest)
        try:
            await rest
        finally:
            timer.cancel()
            self._rest = None

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

    def _arrived(self, output: Any) -> None:
        """Take new output of vLLM, or what it failed of."""
        self._put(output)
        if isinstance(output, Exception) or output.finished:
            self._ended = True
            if self._rest is not None:
                _wake(self._rest)


def _wake(rest: "asyncio.Future[None]") -> None:
    if not rest.done():
        rest.set_result(None)


def sampling_params(sampling: SamplingParameters) -> SamplingParams:
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
        structured_outputs=None if sampling.constraint is None else _structured_outputs(sampling.constraint),
        output_kind=RequestOutputKind.DELTA,
    )


def _structured_outputs(constraint: Constraint) -> StructuredOutputsParams:
    if constraint.kind is ConstraintKind.JSON_OBJECT:
        return StructuredOutputsParams(json_object=True)

    if constraint.kind is ConstraintKind.JSON_SCHEMA:
        return StructuredOutputsParams(json=strict_schema(cast(str, constraint.value)))

    if constraint.kind is ConstraintKind.STRUCTURAL_TAG:
        return StructuredOutputsParams(structural_tag=strict_tag(cast(str, constraint.value)))

    value = list(constraint.value) if isinstance(constraint.value, tuple) else constraint.value
    return StructuredOutputsParams(**{constraint.kind.value: value})


def _failure(request: GenerateRequest) -> EngineError | RequestError:
    """Why vLLM gave up a request: in practice because its grammar came to a point where no token may follow."""
    constraint = request.sampling.constraint
    if constraint is None:
        return EngineError("vLLM failed on the request and does not say why; its log does")

    return RequestError(
        f"constraint.{constraint.kind.value}", "no text can fulfil it: a rule refers to itself without an end"
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
