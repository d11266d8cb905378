"""The one error tree of Moesaic. Every message names the offending value, the allowed range and the next step.

    MoesaicError
    ├── InputError                    a value that a caller gave is refused (also a ValueError)
    │   ├── ConfigError               a model configuration contradicts itself
    │   ├── UnsupportedModelError     an architecture or tensor layout that Moesaic cannot map
    │   ├── SchemeError               an unknown or inapplicable quantization scheme
    │   ├── TokenizerError            the tokenizer is missing or does not fit the weights
    │   ├── RequestError              a prompt or a sampling parameter outside its range
    │   │   └── ContextOverflowError  prompt and answer do not fit into the model's context
    │   ├── DocumentError             a file that cannot become a document
    │   ├── RecipeError               a training recipe has an unknown key, a value out of range, or contradicts itself
    │   ├── CorpusError               training data that is missing, empty, damaged or not what the recipe says
    │   ├── ToolArgumentError         the arguments of a tool's call are refused
    │   └── NotFoundError             nothing has this name: a model, a knowledge base, a document
    ├── ArtifactError                 a folder that is not a sound model artifact
    │   ├── ForeignArtifactError      no manifest, an unknown format version or an unknown key
    │   ├── DamagedArtifactError      a file is missing, truncated, altered or unreadable
    │   └── CanaryError               the loaded weights do not compute what the artifact promises
    ├── KnowledgeBaseError            a folder that is not a sound knowledge base, or cannot be used now
    │   ├── ForeignKnowledgeBaseError no base of Moesaic, or an unknown format version
    │   ├── DamagedKnowledgeBaseError its database is truncated, altered or unreadable
    │   ├── EmbedderMismatchError     its vectors come from another embedder
    │   └── KnowledgeBaseBusyError    another process is writing to it
    ├── TrainingError                 a training run could not go on
    │   ├── DivergedError             loss or gradients are not finite, or exploded more often than is allowed
    │   ├── DamagedRunError           a checkpoint of a run is missing, truncated or altered
    │   ├── GateError                 a new version is no better than it has to be; the former one is served on
    │   └── RunBusyError              another process is writing to the run's folder
    ├── ToolError                     a tool could not do what it was called for
    │   ├── ToolRefusedError          a call is not allowed: by a list, by a budget, by a person, or for this caller
    │   ├── SandboxError              the sandbox could not run a program; never a fault of the program
    │   │   ├── SandboxBusyError      all of its places are taken; try again later
    │   │   └── SandboxUnavailableError  no tier of it holds on this machine
    │   ├── SearchError               no search engine gave an answer
    │   │   ├── SearchBudgetError     the request's budget of queries, seconds or bytes is spent
    │   │   ├── SearchProviderError   one search engine failed; others may be asked
    │   │   │   └── SearchRateLimitedError  it wants no more queries for a while
    │   │   └── UnrecordedExchangeError  a replay was asked for an exchange that it does not hold
    │   └── PageError                 a page could not be fetched or read
    │       ├── ForbiddenAddressError its address may not be asked: private, odd, or of another scheme or port
    │       ├── PageLimitError        it is larger, slower or longer on the way than is allowed
    │       ├── RobotsError           its host does not want it read by programs
    │       └── UnreadablePageError   what came is not text, or not what it says it is
    ├── StorageError                  the disk is full or may not be written
    ├── MissingDependencyError        an optional package is not installed
    ├── EngineError                   an inference engine could not do its work
    │   ├── EngineDeadError           the engine process ended; restart it
    │   ├── EngineOverloadedError     the engine's queue is full; try again later
    │   └── UnsupportedFeatureError   this engine lacks the capability that was asked for
    └── ServiceError                  a call to a server failed, or a server could not do its work
        ├── UnavailableError          the server cannot be reached, or does not serve now; try again later
        ├── DeadlineExceededError     the call took longer than it was allowed to
        ├── UnauthenticatedError      no credential, or one that the server does not know
        └── PermissionDeniedError     the credential does not allow this call

Attributes are for machines, text is for people: where a class has attributes, they repeat what its message says.
"""

# fmt: off
__all__ = [
    "ArtifactError", "CanaryError", "ConfigError", "ContextOverflowError", "CorpusError", "DamagedArtifactError",
    "DamagedKnowledgeBaseError", "DamagedRunError", "DeadlineExceededError", "DivergedError", "DocumentError",
    "EmbedderMismatchError", "EngineDeadError", "EngineError", "EngineOverloadedError", "ForbiddenAddressError",
    "ForeignArtifactError", "ForeignKnowledgeBaseError", "GateError", "InputError", "KnowledgeBaseBusyError",
    "KnowledgeBaseError", "MissingDependencyError", "MoesaicError", "NotFoundError", "PageError", "PageLimitError",
    "PermissionDeniedError", "RecipeError", "RequestError", "RobotsError", "RunBusyError", "SandboxBusyError",
    "SandboxError", "SandboxUnavailableError", "SchemeError", "SearchBudgetError", "SearchError", "SearchProviderError",
    "SearchRateLimitedError", "ServiceError", "StorageError", "TokenizerError", "ToolArgumentError", "ToolError",
    "ToolRefusedError", "TrainingError", "UnauthenticatedError", "UnavailableError", "UnreadablePageError",
    "UnrecordedExchangeError", "UnsupportedFeatureError", "UnsupportedModelError",
]
# fmt: on


class MoesaicError(Exception):
    """Root of everything that Moesaic raises on purpose."""


class InputError(MoesaicError, ValueError):
    """A value that a caller gave is refused."""


class ConfigError(InputError):
    """A model configuration contradicts itself."""


class UnsupportedModelError(InputError):
    """An architecture or a tensor layout that Moesaic cannot map."""


class SchemeError(InputError):
    """A quantization scheme is unknown, or cannot be applied to these weights."""


class TokenizerError(InputError):
    """The tokenizer is missing or does not fit the weights."""


class RequestError(InputError):
    """A prompt or a sampling parameter is outside its range.

    `field` names the parameter, so that a server can point at it.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class ContextOverflowError(RequestError):
    """Prompt and answer together do not fit into the model's context."""


class NotFoundError(InputError):
    """Nothing has this name.

    `kind` says of what ("model", "knowledge base", "document"); `name` repeats what was asked for.
    """

    def __init__(self, kind: str, name: str, hint: str) -> None:
        super().__init__(f"{kind} {name!r} does not exist; {hint}")
        self.kind = kind
        self.name = name


class DocumentError(InputError):
    """A file cannot become a document: its type is unknown, it is binary, empty, or not text in the given encoding."""


class RecipeError(InputError):
    """A training recipe has an unknown key, a value outside its range, or two values that contradict each other."""


class CorpusError(InputError):
    """Training data is missing, empty, damaged, or not what the recipe says."""


class ToolArgumentError(InputError):
    """The arguments of a tool's call are refused; `field` names the one at fault, empty for all of them together."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field


class ArtifactError(MoesaicError):
    """A folder is not a sound model artifact."""


class ForeignArtifactError(ArtifactError):
    """The folder was not written by Moesaic, or by a version that this one cannot read."""


class DamagedArtifactError(ArtifactError):
    """A file of the artifact is missing, truncated, altered or unreadable."""


class CanaryError(ArtifactError):
    """The loaded weights do not compute what the artifact promises.

    `difference` is the mean |Δ log-probability| that was seen (nats), or the relative error of an expert probe;
    `threshold` is the largest that is accepted.
    """

    def __init__(self, message: str, *, difference: float, threshold: float) -> None:
        super().__init__(message)
        self.difference = difference
        self.threshold = threshold


class KnowledgeBaseError(MoesaicError):
    """A folder is not a sound knowledge base, or cannot be used now."""


class ForeignKnowledgeBaseError(KnowledgeBaseError):
    """The folder holds no knowledge base of Moesaic, or one of a format version that this one cannot read."""


class DamagedKnowledgeBaseError(KnowledgeBaseError):
    """The database of a knowledge base is truncated, altered or unreadable."""


class EmbedderMismatchError(KnowledgeBaseError):
    """The vectors of a knowledge base come from another embedder than the one at hand: they cannot be compared."""


class KnowledgeBaseBusyError(KnowledgeBaseError):
    """Another process is writing to the knowledge base; the same call may succeed later."""


class TrainingError(MoesaicError):
    """A training run could not go on; what it had saved is kept, and the same command resumes it."""


class DivergedError(TrainingError):
    """Loss or gradients are not finite, or exploded more often than the recipe allows.

    `step` is the optimizer step, `culprit` the name of the value or parameter that was seen to fail first.
    """

    def __init__(self, message: str, *, step: int, culprit: str) -> None:
        super().__init__(message)
        self.step = step
        self.culprit = culprit


class DamagedRunError(TrainingError):
    """A checkpoint of a run is missing, truncated or altered."""


class GateError(TrainingError):
    """A new version was refused, by the gate of a refresh or by the server; the former one is served on."""


class RunBusyError(TrainingError):
    """Another process is writing to the run's folder; wait for it, or choose another folder."""


class ToolError(MoesaicError):
    """A tool could not do what it was called for; the message is fit to be told to the model."""


class ToolRefusedError(ToolError):
    """A call is not allowed: a list, a budget or a person says no, or the caller may not have programs executed."""


class SandboxError(ToolError):
    """The sandbox could not run a program. What a program does wrong itself is no error, but part of its execution."""


class SandboxBusyError(SandboxError):
    """All places of the sandbox stayed taken for as long as a program may wait; the same call may succeed later."""


class SandboxUnavailableError(SandboxError):
    """No tier of the sandbox holds on this machine, or its processes cannot be kept alive; nothing is run then.

    The message says what was tried, and why it does not hold.
    """


class SearchError(ToolError):
    """No search engine gave an answer; the message says of each one why."""


class SearchBudgetError(SearchError):
    """What one request may spend on searches and pages is spent: `resource` is "queries", "seconds" or "bytes"."""

    def __init__(self, message: str, *, resource: str) -> None:
        super().__init__(message)
        self.resource = resource


class SearchProviderError(SearchError):
    """One search engine, `provider`, failed or cannot do what the query asks for; others may be asked."""

    def __init__(self, message: str, *, provider: str) -> None:
        super().__init__(message)
        self.provider = provider


class SearchRateLimitedError(SearchProviderError):
    """A search engine wants no more queries for `retry_after_s`, None if it does not say how long."""

    def __init__(self, message: str, *, provider: str, retry_after_s: float | None = None) -> None:
        super().__init__(message, provider=provider)
        self.retry_after_s = retry_after_s


class UnrecordedExchangeError(SearchError):
    """A replay was asked for an exchange that its file does not hold, or does not hold that often."""


class PageError(ToolError):
    """A page could not be fetched or read; `url` is what was asked for."""

    def __init__(self, message: str, *, url: str) -> None:
        super().__init__(message)
        self.url = url


class ForbiddenAddressError(PageError):
    """The address may not be asked: private, oddly spelt, or of another scheme or port. Nothing was connected."""


class PageLimitError(PageError):
    """The page is larger, slower, or more redirects away than is allowed."""


class RobotsError(PageError):
    """The robots.txt of the host does not want programs to read this page."""


class UnreadablePageError(PageError):
    """What came is not text: another media type, another encoding than was asked for, or damaged on its way."""


class StorageError(MoesaicError):
    """The disk is full, or a folder may not be written."""


class MissingDependencyError(MoesaicError):
    """An optional package is not installed; the message names the extra that brings it."""


class EngineError(MoesaicError):
    """An inference engine could not do its work."""


class EngineDeadError(EngineError):
    """The engine process ended. Nothing it was asked is lost silently: every open request fails with this error."""


class EngineOverloadedError(EngineError):
    """The engine's queue is full; the same request may succeed later."""


class UnsupportedFeatureError(EngineError):
    """This engine, on this machine, lacks the capability that was asked for."""


class ServiceError(MoesaicError):
    """A call to a server failed, or a server could not do its work.

    `request_id` is what the server calls the request, for its logs; `retry_after_s` is how long the server asks to wait
    before the same call is made again, None if it does not say.
    """

    def __init__(self, message: str, *, request_id: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.request_id = request_id
        self.retry_after_s = retry_after_s


class UnavailableError(ServiceError):
    """The server cannot be reached, starts, shuts down, or has lost its engine; the same call may succeed later."""


class DeadlineExceededError(ServiceError):
    """The call took longer than it was allowed to; what it was computing has been aborted."""


class UnauthenticatedError(ServiceError):
    """The call carried no credential, or one that the server does not know."""


class PermissionDeniedError(ServiceError):
    """The credential is known, but does not allow this call."""
