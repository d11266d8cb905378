"""The one place that refuses a request: every value is checked here, once, and nothing below checks again.

A value that reached an engine unchecked could stop it for everyone (a `top_k` beyond 32 bits, a number that is not
one). So types are checked too: what comes from the wire, or from Python, is not trusted to be what its annotation says.
"""

from collections.abc import Collection, Sequence
from typing import Any

from moesaic.errors import ContextOverflowError, RequestError, UnsupportedFeatureError
from moesaic.server.engine.constraint_rules import check_constraint
from moesaic.server.engine.engine import Capability, EngineLimits
from moesaic.server.engine.request import GenerateRequest, SamplingParameters

__all__ = ["MAX_SEED", "check_capabilities", "check_sequences", "validate"]

MAX_SEED = 2**63 - 1
"""Largest seed: engines keep seeds in signed 64-bit integers."""

_MAX_REQUEST_ID_CHARACTERS = 256
_MAX_PRIORITY = 2**31 - 1


def validate(request: GenerateRequest, limits: EngineLimits) -> None:
    """Raise `RequestError` for the first value of `request` that is out of range."""
    request_id = request.request_id
    if not isinstance(request_id, str) or not 0 < len(request_id) <= _MAX_REQUEST_ID_CHARACTERS:
        shown = repr(request_id)[:80]
        raise RequestError("request_id", f"{shown} is not a text of 1 to {_MAX_REQUEST_ID_CHARACTERS} characters")

    _integer("priority", request.priority, -_MAX_PRIORITY - 1, _MAX_PRIORITY, "0 is the default, lower is sooner")
    _token_ids("prompt_token_ids", request.prompt_token_ids, limits.vocab_size)
    if not request.prompt_token_ids:
        raise RequestError("prompt_token_ids", "the prompt is empty; give at least one token, such as end of text")

    _check_room(len(request.prompt_token_ids), request.sampling.max_tokens, limits.context_length)
    _check_sampling(request.sampling, limits)


def check_capabilities(request: GenerateRequest, capabilities: Collection[Capability], engine: str) -> None:
    """Raise `UnsupportedFeatureError` if `request` needs what `engine` lacks."""
    if request.adapter is not None:
        raise UnsupportedFeatureError(
            f"{engine} serves no LoRA adapters (asked for {request.adapter!r}): vLLM's CPU kernels for quantized "
            "experts cannot take them; merge the adapter into the weights and serve the merged artifact"
        )

    wanted = {Capability.GENERATE: True}
    wanted[Capability.SEED] = request.sampling.seed is not None
    wanted[Capability.LOGPROBS] = request.sampling.logprobs is not None
    wanted[Capability.CONSTRAINTS] = request.sampling.constraint is not None
    for capability, needed in wanted.items():
        if needed and capability not in capabilities:
            raise UnsupportedFeatureError(
                f"{engine} cannot do {capability}; it offers {', '.join(sorted(capabilities))}"
            )


def check_sequences(sequences: Sequence[Sequence[int]], limits: EngineLimits) -> None:
    """Raise `RequestError` for the first sequence that cannot be scored."""
    for index, sequence in enumerate(sequences):
        field = f"sequences[{index}]"
        _token_ids(field, sequence, limits.vocab_size)
        if not 1 <= len(sequence) <= limits.context_length:
            raise RequestError(
                field, f"{len(sequence)} tokens; a sequence has 1 to {limits.context_length}: split it, or leave it out"
            )


def _check_room(prompt_tokens: int, max_tokens: object, context_length: int) -> None:
    if prompt_tokens >= context_length:
        raise ContextOverflowError(
            "prompt_token_ids",
            f"the prompt has {prompt_tokens} tokens, and the context of {context_length} must also hold the answer; "
            f"shorten it to at most {context_length - 1}",
        )

    room = context_length - prompt_tokens
    _integer(
        "max_tokens", max_tokens, 1, room, f"the context holds {context_length} tokens and the prompt {prompt_tokens}"
    )


def _check_sampling(sampling: SamplingParameters, limits: EngineLimits) -> None:
    _number("temperature", sampling.temperature, 0.0, 2.0, "0 takes the most likely token")
    _number("top_p", sampling.top_p, 0.0, 1.0, "1 draws from all tokens", open_below=True)
    _number("min_p", sampling.min_p, 0.0, 1.0, "0 draws from all tokens")
    _number("repetition_penalty", sampling.repetition_penalty, 0.0, 10.0, "1 is no penalty", open_below=True)
    _number("presence_penalty", sampling.presence_penalty, -2.0, 2.0, "0 is no penalty")
    _number("frequency_penalty", sampling.frequency_penalty, -2.0, 2.0, "0 is no penalty")
    _integer("top_k", sampling.top_k, 0, limits.vocab_size, "0 draws from all tokens")
    _integer("n", sampling.n, 1, limits.max_n, "send several requests for more")
    if sampling.n > 1 and sampling.temperature == 0:
        raise RequestError("n", f"{sampling.n} greedy answers would all be the same; ask for 1, or raise temperature")
    if sampling.logprobs is not None:
        _integer("logprobs", sampling.logprobs, 0, limits.max_logprobs, "None gives no log-probabilities")
    if sampling.seed is not None:
        _integer("seed", sampling.seed, 0, MAX_SEED, "None draws a new one")
    if not isinstance(sampling.ignore_eos, bool):
        raise RequestError("ignore_eos", f"{sampling.ignore_eos!r} is neither True nor False")
    _check_stops(sampling, limits)
    if sampling.constraint is not None:
        check_constraint(sampling.constraint, limits)
        if sampling.ignore_eos:
            raise RequestError("ignore_eos", "a constrained answer ends with its form; leave ignore_eos out")


def _check_stops(sampling: SamplingParameters, limits: EngineLimits) -> None:
    for field, stops in (("stop", sampling.stop), ("stop_token_ids", sampling.stop_token_ids)):
        if not isinstance(stops, tuple) or len(stops) > limits.max_stops:
            shown = f"{len(stops)} entries" if isinstance(stops, tuple) else repr(stops)[:80]
            raise RequestError(field, f"{shown}; give a tuple of at most {limits.max_stops}")

    for text in sampling.stop:
        if not isinstance(text, str) or not 0 < len(text) <= limits.max_stop_characters:
            raise RequestError(
                "stop", f"{str(text)[:80]!r} is not a text of 1 to {limits.max_stop_characters} characters"
            )

    _token_ids("stop_token_ids", sampling.stop_token_ids, limits.vocab_size)


def _number(field: str, value: object, low: float, high: float, hint: str, *, open_below: bool = False) -> None:
    # Not a number compares false with everything, and infinity is above every bound.
    sound = (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and (low < value if open_below else low <= value)
        and value <= high
    )
    if not sound:
        bounds = f"above {low:g}, at most {high:g}" if open_below else f"{low:g} to {high:g}"
        raise RequestError(field, f"{_shown(value)} is not a number {bounds} ({hint})")


def _integer(field: str, value: object, low: int, high: int, hint: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise RequestError(field, f"{_shown(value)} is not an integer from {low} to {high} ({hint})")


def _token_ids(field: str, token_ids: Any, vocab_size: int) -> None:
    if not isinstance(token_ids, Sequence) or isinstance(token_ids, str | bytes):
        raise RequestError(field, f"{_shown(token_ids)} is not a sequence of token ids")

    for position, token_id in enumerate(token_ids):
        if type(token_id) is not int or not 0 <= token_id < vocab_size:
            raise RequestError(
                field,
                f"{_shown(token_id)} at position {position} is not a token id from 0 to {vocab_size - 1}; "
                "encode with this model's tokenizer",
            )


def _shown(value: object) -> str:
    """A value for a message; Python refuses to print integers of thousands of digits."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 256:
        return f"an integer of {value.bit_length()} bits"

    return repr(value)[:80]
