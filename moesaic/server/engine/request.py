"""What an engine is asked, and what it answers: plain values, the same for every engine.

- Prompts are token ids. Text, chat templates and their defaults belong to whoever asks.
- Log-probabilities are the model's own, in nats: before temperature, penalties and truncation.
- Tokens that end a sequence (end of text, `stop_token_ids`) appear in `token_ids`; they and stop strings never appear
  in `text`.
"""

import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

__all__ = [
    "Constraint",
    "ConstraintKind",
    "Delta",
    "FinishReason",
    "GenerateRequest",
    "SamplingParameters",
    "TokenLogprob",
    "Usage",
]


class FinishReason(StrEnum):
    """Why a sequence ended."""

    STOP = "stop"
    """The end-of-text token, a stop string or a stop token."""
    LENGTH = "length"
    """`max_tokens` were generated."""
    ABORT = "abort"
    """The request was aborted, or the engine was stopped."""


class ConstraintKind(StrEnum):
    """In which language a constraint is written."""

    JSON_SCHEMA = "json_schema"
    """A JSON Schema, as JSON; answers are written without superfluous whitespace."""
    JSON_OBJECT = "json_object"
    """Any JSON object; the value is empty."""
    REGEX = "regex"
    """A regular expression for the whole answer."""
    CHOICE = "choice"
    """A tuple of texts, one of which is the answer."""
    GRAMMAR = "grammar"
    """A grammar in EBNF with the start rule `root`."""
    STRUCTURAL_TAG = "structural_tag"
    """Free text in which tagged passages satisfy JSON Schemas, in xgrammar's JSON notation; written by the server for
    tools, never by clients."""


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """A form that the answer cannot leave: tokens that would break it are never drawn.

    An answer that ends with `FinishReason.STOP` is whole; one that ends with `LENGTH` may be cut off inside the form.
    """

    kind: ConstraintKind
    """In which language."""
    value: str | tuple[str, ...] = ""
    """The form itself; a tuple of texts for `CHOICE`."""


class TokenLogprob(NamedTuple):
    """A token and its log-probability in nats."""

    token_id: int
    logprob: float


@dataclass(frozen=True, kw_only=True)
class SamplingParameters:
    """How tokens are drawn; the defaults draw from the model's own distribution.

    Ranges are checked in one place, `moesaic.server.engine.validation`.
    """

    max_tokens: int = 256
    """Most tokens of one sequence, the one that ends it included."""
    temperature: float = 1.0
    """Divides the logits; 0 takes the most likely token."""
    top_p: float = 1.0
    """Draws from the smallest set of tokens with at least this probability in sum; 1 draws from all."""
    top_k: int = 0
    """Draws from this many most likely tokens; 0 draws from all."""
    min_p: float = 0.0
    """Leaves out tokens less likely than this share of the most likely one."""
    repetition_penalty: float = 1.0
    """Divides positive and multiplies negative logits of tokens in the prompt or the answer so far."""
    presence_penalty: float = 0.0
    """Subtracted from the logits of tokens in the answer so far."""
    frequency_penalty: float = 0.0
    """Subtracted from the logits of tokens in the answer so far, once for each time."""
    stop: tuple[str, ...] = ()
    """Texts that end the sequence; the one found is cut off."""
    stop_token_ids: tuple[int, ...] = ()
    """Tokens that end the sequence, besides end of text."""
    ignore_eos: bool = False
    """Whether to go on after end of text."""
    seed: int | None = None
    """Makes the draw reproducible; sequence `i` of `n` draws with `seed + i`."""
    logprobs: int | None = None
    """None: no log-probabilities. 0: that of each token. k: also those of the k most likely tokens."""
    constraint: Constraint | None = None
    """The form that the answer must have; None: any."""
    n: int = 1
    """Sequences to generate from the prompt; more than one need a temperature."""


@dataclass(frozen=True, kw_only=True)
class GenerateRequest:
    """One prompt, and how to continue it."""

    prompt_token_ids: tuple[int, ...]
    """The prompt, as the engine's tokenizer encodes it."""
    sampling: SamplingParameters = SamplingParameters()
    """How to draw tokens."""
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Name of the request, unique among those in flight."""
    priority: int = 0
    """Lower numbers are served first, where requests wait."""
    adapter: str | None = None
    """Name of a LoRA adapter. No engine serves adapters: merge it into the weights instead."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens that a request cost."""

    prompt_tokens: int
    completion_tokens: int
    """Generated tokens of all sequences."""
    cached_tokens: int = 0
    """Prompt tokens whose computation was found in the prefix cache."""


@dataclass(frozen=True, kw_only=True)
class Delta:
    """What is new in one sequence of a request.

    A sequence ends with exactly one delta that has a finish reason; the last delta of the request carries its usage.
    """

    request_id: str
    index: int = 0
    """Which of the `n` sequences."""
    text: str = ""
    """New text; text that may be the beginning of a stop string waits for the next delta."""
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] | None = None
    """Log-probability of each of `token_ids`, if the request asked for them."""
    top_logprobs: tuple[tuple[TokenLogprob, ...], ...] | None = None
    """For each of `token_ids` the most likely tokens, best first, if the request asked for any."""
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
