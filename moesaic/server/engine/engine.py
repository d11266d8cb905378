"""What every engine offers, whatever computes the tokens: `Engine`, a protocol of asynchronous calls.

Shipped engines: `VllmEngine` (serves), `TransformersEngine` (the plain reference, one request at a time) and
`ScriptedEngine` (a double for tests, without weights). One conformance suite holds for all of them, by capability.

Life of an engine:

    stopped ── start() ──> starting ──> ready ── stop() ──> stopped
                              │           │
                              └──> failed <┘   start() again brings it back

Nothing is lost silently: when an engine dies, every open request raises `EngineDeadError`; when it is stopped, every
open request ends with `FinishReason.ABORT`.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from moesaic.errors import EngineDeadError
from moesaic.server.engine.request import Delta, GenerateRequest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Capability", "Engine", "EngineLimits", "EngineLoad", "EngineState", "Tokenizer"]


class Capability(StrEnum):
    """What an engine can do; asking for something else raises `UnsupportedFeatureError`."""

    GENERATE = "generate"
    """Continues a prompt."""
    STREAM = "stream"
    """Gives tokens as they are computed, not all at the end."""
    SCORE = "score"
    """Gives the log-probabilities of given tokens."""
    SEED = "seed"
    """Equal seeds give equal answers."""
    LOGPROBS = "logprobs"
    """Gives log-probabilities of generated tokens."""
    CONSTRAINTS = "constraints"
    """Keeps answers in a given form."""
    ABORT = "abort"
    """Ends a request early and frees what it held."""
    BATCHING = "batching"
    """Serves several requests at once."""
    PREFIX_CACHE = "prefix-cache"
    """Computes a prompt's beginning once for several requests."""
    PRIORITY = "priority"
    """Serves waiting requests by priority."""
    RESTART = "restart"
    """Starts again after a failure."""


class EngineState(StrEnum):
    """Where an engine is in its life."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class EngineLimits:
    """The ranges that requests are checked against."""

    context_length: int
    """Most tokens of prompt and answer together."""
    vocab_size: int
    """Rows of the embedding: token ids are below it."""
    max_n: int = 16
    """Most sequences of one request."""
    max_logprobs: int = 20
    """Most alternatives for each token."""
    max_stops: int = 16
    """Most stop strings, and most stop tokens."""
    max_stop_characters: int = 256
    """Longest stop string."""
    max_choices: int = 1024
    """Most texts to choose from."""
    max_constraint_bytes: int = 65536
    """Longest constraint, in UTF-8."""


@dataclass(frozen=True, kw_only=True)
class EngineLoad:
    """How busy an engine is, as of its last step."""

    running: int = 0
    """Sequences being computed."""
    waiting: int = 0
    """Sequences that wait for room."""
    kv_cache_usage: float = 0.0
    """Share of the cache that live sequences hold, 0 to 1."""


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that serving relies on."""

    @property
    def eos_token_id(self) -> Any:
        """Id of the token that ends a text, or None."""

    def encode(self, text: str, *, add_special_tokens: bool = True) -> Any:
        """Token ids of a text."""

    def decode(self, token_ids: Any, *, skip_special_tokens: bool = False) -> Any:
        """Text of token ids."""

    def apply_chat_template(self, conversation: Any, **options: Any) -> Any:
        """Prompt of a list of messages: text, or token ids with `tokenize=True`."""


class Engine(Protocol):
    """A model that answers requests."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What this engine can do."""

    @property
    def state(self) -> EngineState:
        """Where the engine is in its life."""

    @property
    def limits(self) -> EngineLimits:
        """The ranges of what may be asked."""

    @property
    def tokenizer(self) -> "Tokenizer | PreTrainedTokenizerBase":
        """The tokenizer that belongs to the weights."""

    async def start(self) -> None:
        """Load the model, compare it with the artifact's canary, and become ready; no effect on a ready engine.

        Raises:
            CanaryError: the loaded weights do not compute what the artifact promises; the engine is stopped again.
            EngineError: the engine could not start; the message has the cause.
        """

    async def stop(self) -> None:
        """Abort what is open and free everything; no effect on a stopped engine."""

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Delta, None]:
        """Continue a prompt; closing the generator, or cancelling its task, aborts the request.

        Raises:
            RequestError: a value is out of range (raised by the call itself, before anything is computed).
            UnsupportedFeatureError: the request asks for a capability that this engine lacks (so too).
            EngineOverloadedError: the queue is full.
            EngineDeadError: the engine died; the request is lost.
            EngineError: the engine is not ready.
        """

    async def score(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """Give log p(token | the tokens before it), in nats, of every token but the first of each sequence.

        Raises `RequestError` and `EngineError` as `generate` does.
        """

    async def abort(self, request_id: str) -> bool:
        """End a request with `FinishReason.ABORT`; False if no such request is open."""

    def load(self) -> EngineLoad:
        """Tell how busy the engine is."""

    async def wait_failed(self) -> EngineDeadError:
        """Wait until the engine fails, and give the reason; returns at once if it has failed already."""
