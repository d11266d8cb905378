"""`TransformersEngine`: the plain reference engine, for machines without vLLM. One request at a time, no scheduler.

Weights of any precision are dequantized; the computation is transformers' own, with a cache of keys and values. It
answers what `VllmEngine` answers, by the same definitions, only slowly: tests hold one against the other.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moesaic.artifact import ExpertProbe, ModelArtifact
from moesaic.errors import EngineDeadError, EngineError, InputError
from moesaic.server.engine.canary_replay import replay_canary
from moesaic.server.engine.engine import Capability, EngineLimits, EngineLoad, EngineState
from moesaic.server.engine.lifecycle import Lifecycle
from moesaic.server.engine.open_requests import OpenRequest, OpenRequests
from moesaic.server.engine.request import Delta, FinishReason, GenerateRequest, Usage
from moesaic.server.engine.transcript import Transcript
from moesaic.server.engine.validation import check_capabilities, check_sequences, validate

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from moesaic.server.engine.plain_model import PlainModel, PlainPrompt

__all__ = ["TransformersEngine", "TransformersSettings"]


@dataclass(frozen=True, kw_only=True)
class TransformersSettings:
    """Settings of the reference engine."""

    dtype: str = "auto"
    """Type of weights and activations: auto (the artifact's own), bfloat16, float16 or float32."""
    context_length: int | None = None
    """Most tokens of prompt and answer; None takes the model's own."""
    max_queued_requests: int = 64
    """Most requests running and waiting; one beyond it raises `EngineOverloadedError`."""

    def __post_init__(self) -> None:
        if self.dtype not in ("auto", "bfloat16", "float16", "float32"):
            raise InputError(f"dtype={self.dtype!r} must be one of auto, bfloat16, float16, float32")


class TransformersEngine:
    """An `Engine` in plain PyTorch.

    Args:
        artifact: the model to serve.
        settings: how to serve it.

    Attributes:
        artifact: as given.
        settings: as given.
        canary_difference: mean |Δ log-probability| (nats) at the last start, None without a canary.
    """

    def __init__(self, artifact: ModelArtifact, settings: TransformersSettings | None = None) -> None:
        self.artifact = artifact
        self.settings = settings or TransformersSettings()
        self.canary_difference: float | None = None
        facts = artifact.manifest.architecture
        self._limits = EngineLimits(
            context_length=min(self.settings.context_length or facts.context_length, facts.context_length),
            vocab_size=facts.vocab_size,
        )
        self._lifecycle = Lifecycle(f"the plain engine of {artifact.manifest.name}")
        self._open = OpenRequests(slots=1, max_open=self.settings.max_queued_requests)
        self._tokenizer: PreTrainedTokenizerBase | None = None
        self._model: PlainModel | None = None

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What needs no scheduler."""
        return frozenset(Capability) - {
            Capability.BATCHING,
            Capability.CONSTRAINTS,
            Capability.PREFIX_CACHE,
            Capability.PRIORITY,
        }

    @property
    def state(self) -> EngineState:
        """Where the engine is in its life."""
        return self._lifecycle.state

    @property
    def limits(self) -> EngineLimits:
        """The ranges of what may be asked."""
        return self._limits

    @property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """The artifact's tokenizer."""
        if self._tokenizer is None:
            from moesaic.model.tokenizer_files import load_tokenizer

            self._tokenizer = load_tokenizer(self.artifact.folder)
        return self._tokenizer

    async def start(self) -> None:
        """See `Engine.start`; also raises what loading the artifact does."""
        async with self._lifecycle.lock:
            if self.state is EngineState.READY:
                return

            self._lifecycle.starting()
            try:
                self._model = await asyncio.to_thread(self._load)
                dtype = self.settings.dtype
                self.canary_difference = await replay_canary(self.artifact, self._score, self._probe, dtype)
            except BaseException as error:
                self._model = None
                self._lifecycle.failed(f"it did not start ({type(error).__name__}: {error})")
                raise

            self._lifecycle.ready()

    async def stop(self) -> None:
        """See `Engine.stop`."""
        async with self._lifecycle.lock:
            self._lifecycle.stopped()
            self._open.end_all()
            self._model = None

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Delta, None]:
        """See `Engine.generate`."""
        self._lifecycle.require_ready()
        validate(request, self._limits)
        check_capabilities(request, self.capabilities, self._lifecycle.name)
        return self._generate(request)

    async def score(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """See `Engine.score`."""
        self._lifecycle.require_ready()
        check_sequences(sequences, self._limits)
        async with self._open.admit(f"score-{id(sequences)}") as opened:
            if opened.ended.is_set():
                raise EngineError(f"{self._lifecycle.name} was stopped; the sequences are not scored")
            return await self._score(sequences)

    async def abort(self, request_id: str) -> bool:
        """See `Engine.abort`."""
        return self._open.end(request_id)

    def load(self) -> EngineLoad:
        """See `Engine.load`."""
        return EngineLoad(
            running=self._open.running, waiting=self._open.waiting, kv_cache_usage=float(self._open.running)
        )

    async def wait_failed(self) -> EngineDeadError:
        """See `Engine.wait_failed`."""
        return await self._lifecycle.wait_failed()

    def _load(self) -> "PlainModel":
        from moesaic.server.engine.plain_model import PlainModel

        facts = self.artifact.manifest.architecture
        _ = self.tokenizer
        return PlainModel(self.artifact.folder, facts.dtype if self.settings.dtype == "auto" else self.settings.dtype)

    async def _score(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        assert self._model is not None
        model = self._model
        return [
            await asyncio.to_thread(model.logprobs, sequence) if len(sequence) > 1 else [] for sequence in sequences
        ]

    async def _probe(self, probes: Sequence[ExpertProbe]) -> list[list[list[float]]]:
        assert self._model is not None
        return await asyncio.to_thread(self._model.run_probes, probes)

    async def _generate(self, request: GenerateRequest) -> AsyncGenerator[Delta, None]:
        from moesaic.server.engine.plain_model import PlainPrompt

        generated = 0
        async with self._open.admit(request.request_id) as opened:
            model = self._model
            prompt = None if model is None else PlainPrompt(model, request.prompt_token_ids)
            while prompt is not None and not prompt.computed and not opened.ended.is_set():
                await asyncio.to_thread(prompt.advance)
            for index in range(request.sampling.n):
                async for delta in self._sequence(request, index, prompt, opened):
                    generated += len(delta.token_ids)
                    last = delta.finish_reason is not None and index == request.sampling.n - 1
                    usage = Usage(prompt_tokens=len(request.prompt_token_ids), completion_tokens=generated)
                    yield replace(delta, usage=usage) if last else delta

    async def _sequence(
        self, request: GenerateRequest, index: int, prompt: "PlainPrompt | None", opened: OpenRequest
    ) -> AsyncGenerator[Delta, None]:
        from moesaic.server.engine.text_stream import TextStream

        sampling = request.sampling
        aborted = Delta(request_id=request.request_id, index=index, finish_reason=FinishReason.ABORT)
        if opened.ended.is_set() or prompt is None or self._model is None:
            yield aborted
            return

        sequence = prompt.continued(sampling, index)
        text = TextStream(self.tokenizer, request.prompt_token_ids)
        transcript = Transcript(sampling, self._model.end_token_ids, text.push)
        reason: FinishReason | None = None
        while reason is None:
            drawn = await asyncio.to_thread(sequence.advance)
            if opened.ended.is_set():
                yield aborted
                return

            passage = transcript.add(drawn.token_id)
            reason = passage.finish_reason
            yield Delta(
                request_id=request.request_id,
                index=index,
                text=passage.text,
                token_ids=(drawn.token_id,),
                logprobs=None if drawn.logprob is None else (drawn.logprob,),
                top_logprobs=None if drawn.top is None else (drawn.top,),
                finish_reason=reason,
            )
