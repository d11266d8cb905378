"""The one error tree of Moesaic. Every message names the offending value, the allowed range and the next step.

    MoesaicError
    ├── InputError                    a value that a caller gave is refused (also a ValueError)
    │   ├── ConfigError               a model configuration contradicts itself
    │   ├── UnsupportedModelError     an architecture or tensor layout that Moesaic cannot map
    │   ├── SchemeError               an unknown or inapplicable quantization scheme
    │   ├── TokenizerError            the tokenizer is missing or does not fit the weights
    │   └── RequestError              a prompt or a sampling parameter outside its range
    ├── ArtifactError                 a folder that is not a sound model artifact
    │   ├── ForeignArtifactError      no manifest, an unknown format version or an unknown key
    │   ├── DamagedArtifactError      a file is missing, truncated, altered or unreadable
    │   └── CanaryError               the loaded weights do not compute what the artifact promises
    ├── StorageError                  the disk is full or may not be written
    ├── MissingDependencyError        an optional package is not installed
    └── EngineError                   an inference engine could not do its work
        ├── EngineDeadError           the engine process ended; restart it
        ├── EngineOverloadedError     the engine's queue is full; try again later
        └── UnsupportedFeatureError   this engine lacks the capability that was asked for

Attributes are for machines, text is for people: where a class has attributes, they repeat what its message says.
"""

__all__ = [
    "ArtifactError",
    "CanaryError",
    "ConfigError",
    "DamagedArtifactError",
    "EngineDeadError",
    "EngineError",
    "EngineOverloadedError",
    "ForeignArtifactError",
    "InputError",
    "MissingDependencyError",
    "MoesaicError",
    "RequestError",
    "SchemeError",
    "StorageError",
    "TokenizerError",
    "UnsupportedFeatureError",
    "UnsupportedModelError",
]


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
