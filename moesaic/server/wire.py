"""Between messages of `moesaic.v1` and the values that engines take and give."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from moesaic import v1
from moesaic.errors import RequestError
from moesaic.server.engine import (
    Capability,
    Constraint,
    ConstraintKind,
    Delta,
    FinishReason,
    SamplingParameters,
    TokenLogprob,
    Usage,
)

__all__ = [
    "capabilities_to_wire",
    "finish_to_wire",
    "logprobs_to_wire",
    "sampling_from_wire",
    "usage_to_wire",
    "wire_names",
]

_FINISH: Mapping[FinishReason, v1.FinishReason] = {
    FinishReason.STOP: v1.FinishReason.FINISH_REASON_STOP,
    FinishReason.LENGTH: v1.FinishReason.FINISH_REASON_LENGTH,
    FinishReason.ABORT: v1.FinishReason.FINISH_REASON_ABORTED,
}

_CAPABILITIES: Mapping[Capability, v1.Capability] = {
    Capability.GENERATE: v1.Capability.CAPABILITY_GENERATE,
    Capability.STREAM: v1.Capability.CAPABILITY_STREAM,
    Capability.SCORE: v1.Capability.CAPABILITY_SCORE,
    Capability.CONSTRAINTS: v1.Capability.CAPABILITY_CONSTRAINTS,
    Capability.SEED: v1.Capability.CAPABILITY_SEED,
    Capability.LOGPROBS: v1.Capability.CAPABILITY_LOGPROBS,
    Capability.BATCHING: v1.Capability.CAPABILITY_BATCHING,
    Capability.PREFIX_CACHE: v1.Capability.CAPABILITY_PREFIX_CACHE,
    Capability.PRIORITY: v1.Capability.CAPABILITY_PRIORITY,
}

_TOP_LEVEL = frozenset({"priority", "request_id"})
"""Fields of an engine's request that the messages have at their top too; all others are of `sampling`."""

_PLAIN = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "logprobs",
    "n",
)


def sampling_from_wire(message: v1.SamplingParameters, *, max_tokens: int) -> SamplingParameters:
    """Sampling parameters; what is not set takes its default, and `max_tokens` the one given.

    Raises `RequestError` if a constraint is set without a form; ranges are checked by the engine's validation.
    """
    given = {name: getattr(message, name) for name in _PLAIN if message.HasField(name)}
    return SamplingParameters(
        max_tokens=message.max_tokens if message.HasField("max_tokens") else max_tokens,
        stop=tuple(message.stop),
        stop_token_ids=tuple(message.stop_token_ids),
        ignore_eos=message.ignore_eos,
        constraint=_constraint(message.constraint) if message.HasField("constraint") else None,
        **given,
    )


def _constraint(message: v1.Constraint) -> Constraint:
    form = message.WhichOneof("form")
    if form is None:
        raise RequestError("sampling.constraint", "has no form: set json_schema, json_object, regex, choice or grammar")

    if form == "json_object":
        return Constraint(kind=ConstraintKind.JSON_OBJECT)
    if form == "choice":
        return Constraint(kind=ConstraintKind.CHOICE, value=tuple(message.choice.texts))
    return Constraint(kind=ConstraintKind(form), value=getattr(message, form))


@contextmanager
def wire_names(prompt: str, *, written_for_tools: bool = False) -> Iterator[None]:
    """Have the engine's refusals name fields of the message that the caller sent.

    Args:
        prompt: field of the message that became the prompt.
        written_for_tools: whether the constraint is the server's, for the message's tools.
    """
    try:
        yield
    except RequestError as error:
        message = str(error).removeprefix(f"{error.field}: ")
        raise type(error)(_wire_name(error.field, prompt, "tools" if written_for_tools else None), message) from error


def _wire_name(field: str, prompt: str, constraint: str | None) -> str:
    if field == "prompt_token_ids":
        return prompt
    if field.startswith("sequences["):
        return field.replace("sequences", "continuations", 1)
    if field.startswith("constraint") and constraint is not None:
        return constraint
    return field if field in _TOP_LEVEL else f"sampling.{field}"


def finish_to_wire(reason: FinishReason | None, *, drained: bool = False) -> v1.FinishReason:
    """Why a sequence ended; UNSPECIFIED if it has not."""
    if reason is None:
        return v1.FinishReason.FINISH_REASON_UNSPECIFIED
    if reason is FinishReason.ABORT and drained:
        return v1.FinishReason.FINISH_REASON_DRAINED
    return _FINISH[reason]


def logprobs_to_wire(delta: Delta) -> list[v1.TokenLogprob]:
    """Log-probabilities of a delta's tokens; none if they were not asked for."""
    if delta.logprobs is None:
        return []

    tops: Iterable[tuple[TokenLogprob, ...]] = delta.top_logprobs or ((),) * len(delta.token_ids)
    return [
        v1.TokenLogprob(
            token_id=token_id,
            logprob=logprob,
            top=[v1.TokenLogprob(token_id=other, logprob=value) for other, value in top],
        )
        for token_id, logprob, top in zip(delta.token_ids, delta.logprobs, tops, strict=True)
    ]


def usage_to_wire(usage: Usage) -> v1.Usage:
    """What a request cost."""
    return v1.Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached_tokens,
    )


def capabilities_to_wire(capabilities: Iterable[Capability], *, embeds: bool) -> list[v1.Capability]:
    """What a server can do; what concerns only the engine's owner (abort, restart) is left out."""
    wire = {_CAPABILITIES[capability] for capability in capabilities if capability in _CAPABILITIES}
    if embeds:
        wire.add(v1.Capability.CAPABILITY_EMBED)
    return sorted(wire)
