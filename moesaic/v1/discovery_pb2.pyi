from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SandboxTier(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SANDBOX_TIER_UNSPECIFIED: _ClassVar[SandboxTier]
    SANDBOX_TIER_NONE: _ClassVar[SandboxTier]
    SANDBOX_TIER_NAMESPACES: _ClassVar[SandboxTier]
    SANDBOX_TIER_SECCOMP: _ClassVar[SandboxTier]

class Capability(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CAPABILITY_UNSPECIFIED: _ClassVar[Capability]
    CAPABILITY_GENERATE: _ClassVar[Capability]
    CAPABILITY_STREAM: _ClassVar[Capability]
    CAPABILITY_SCORE: _ClassVar[Capability]
    CAPABILITY_EMBED: _ClassVar[Capability]
    CAPABILITY_CONSTRAINTS: _ClassVar[Capability]
    CAPABILITY_SEED: _ClassVar[Capability]
    CAPABILITY_LOGPROBS: _ClassVar[Capability]
    CAPABILITY_BATCHING: _ClassVar[Capability]
    CAPABILITY_PREFIX_CACHE: _ClassVar[Capability]
    CAPABILITY_PRIORITY: _ClassVar[Capability]
SANDBOX_TIER_UNSPECIFIED: SandboxTier
SANDBOX_TIER_NONE: SandboxTier
SANDBOX_TIER_NAMESPACES: SandboxTier
SANDBOX_TIER_SECCOMP: SandboxTier
CAPABILITY_UNSPECIFIED: Capability
CAPABILITY_GENERATE: Capability
CAPABILITY_STREAM: Capability
CAPABILITY_SCORE: Capability
CAPABILITY_EMBED: Capability
CAPABILITY_CONSTRAINTS: Capability
CAPABILITY_SEED: Capability
CAPABILITY_LOGPROBS: Capability
CAPABILITY_BATCHING: Capability
CAPABILITY_PREFIX_CACHE: Capability
CAPABILITY_PRIORITY: Capability

class GetServerInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ("server_version", "api_version", "engine", "capabilities", "limits", "embedder", "embedding_dimension", "sandbox_tier")
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    API_VERSION_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    EMBEDDER_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_DIMENSION_FIELD_NUMBER: _ClassVar[int]
    SANDBOX_TIER_FIELD_NUMBER: _ClassVar[int]
    server_version: str
    api_version: str
    engine: str
    capabilities: _containers.RepeatedScalarFieldContainer[Capability]
    limits: Limits
    embedder: str
    embedding_dimension: int
    sandbox_tier: SandboxTier
    def __init__(self, server_version: _Optional[str] = ..., api_version: _Optional[str] = ..., engine: _Optional[str] = ..., capabilities: _Optional[_Iterable[_Union[Capability, str]]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., embedder: _Optional[str] = ..., embedding_dimension: _Optional[int] = ..., sandbox_tier: _Optional[_Union[SandboxTier, str]] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("context_length", "vocab_size", "max_n", "max_logprobs", "max_message_bytes", "max_batch", "max_open_requests")
    CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    VOCAB_SIZE_FIELD_NUMBER: _ClassVar[int]
    MAX_N_FIELD_NUMBER: _ClassVar[int]
    MAX_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_FIELD_NUMBER: _ClassVar[int]
    MAX_OPEN_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    context_length: int
    vocab_size: int
    max_n: int
    max_logprobs: int
    max_message_bytes: int
    max_batch: int
    max_open_requests: int
    def __init__(self, context_length: _Optional[int] = ..., vocab_size: _Optional[int] = ..., max_n: _Optional[int] = ..., max_logprobs: _Optional[int] = ..., max_message_bytes: _Optional[int] = ..., max_batch: _Optional[int] = ..., max_open_requests: _Optional[int] = ...) -> None: ...

class GetModelInfoRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class GetModelInfoResponse(_message.Message):
    __slots__ = ("model", "weight_version", "architecture", "quantization", "parameters_total", "parameters_active", "context_length", "vocab_size", "experts_per_layer", "has_chat_template", "licence")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_VERSION_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    QUANTIZATION_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_ACTIVE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    VOCAB_SIZE_FIELD_NUMBER: _ClassVar[int]
    EXPERTS_PER_LAYER_FIELD_NUMBER: _ClassVar[int]
    HAS_CHAT_TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    model: str
    weight_version: str
    architecture: str
    quantization: str
    parameters_total: int
    parameters_active: int
    context_length: int
    vocab_size: int
    experts_per_layer: _containers.RepeatedScalarFieldContainer[int]
    has_chat_template: bool
    licence: str
    def __init__(self, model: _Optional[str] = ..., weight_version: _Optional[str] = ..., architecture: _Optional[str] = ..., quantization: _Optional[str] = ..., parameters_total: _Optional[int] = ..., parameters_active: _Optional[int] = ..., context_length: _Optional[int] = ..., vocab_size: _Optional[int] = ..., experts_per_layer: _Optional[_Iterable[int]] = ..., has_chat_template: bool = ..., licence: _Optional[str] = ...) -> None: ...

class GetLoadRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetLoadResponse(_message.Message):
    __slots__ = ("running", "waiting", "kv_cache_usage", "open_calls")
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    KV_CACHE_USAGE_FIELD_NUMBER: _ClassVar[int]
    OPEN_CALLS_FIELD_NUMBER: _ClassVar[int]
    running: int
    waiting: int
    kv_cache_usage: float
    open_calls: int
    def __init__(self, running: _Optional[int] = ..., waiting: _Optional[int] = ..., kv_cache_usage: _Optional[float] = ..., open_calls: _Optional[int] = ...) -> None: ...
