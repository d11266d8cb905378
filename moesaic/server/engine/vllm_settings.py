"""How `VllmEngine` serves one model on this machine."""

from dataclasses import dataclass
from pathlib import Path

from moesaic.errors import InputError

__all__ = ["VllmSettings"]

_DTYPES = ("auto", "bfloat16", "float16", "float32")
_EXPERTS = ("auto", "bf16")


@dataclass(frozen=True, kw_only=True)
class VllmSettings:
    """Settings of one engine; the defaults suit a small model on a laptop-size machine."""

    max_num_seqs: int = 32
    """Most sequences computed at once; further ones wait."""
    max_num_batched_tokens: int = 512
    """Most tokens of one step. Longer prompts are computed in pieces, so this bounds how long a running answer waits
    for someone else's prompt, and the memory of scoring: it needs some 12 bytes × this × vocabulary."""
    max_queued_requests: int = 1024
    """Most sequences running and waiting; a request beyond it raises `EngineOverloadedError`."""
    kv_cache_bytes: int = 2**30
    """Memory for keys and values, taken at start."""
    context_length: int | None = None
    """Most tokens of prompt and answer; None takes the model's own, or what the cache holds if that is less."""
    dtype: str = "auto"
    """Type of the activations: auto (the artifact's own), bfloat16, float16 or float32."""
    compile: bool = False
    """Whether to compile the model: a start of minutes (once; the result is kept), for faster steps."""
    experts: str = "auto"
    """auto serves a quantized artifact as it is if this machine has kernels for it; bf16 always serves a bf16 copy."""
    prefix_caching: bool = True
    """Whether prompts that begin alike share what was computed."""
    gather_s: float = 0.01
    """How long tokens of an answer may gather before they are given on, for each other answer that is open (at most a
    third of a second); 0 gives each token at once. A lone answer never waits, nor does a first token or an end."""
    tensor_parallel: int = 1
    """Processes that share each matrix."""
    cache_folder: Path | None = None
    """Where bf16 copies are kept; None takes the user's cache folder."""
    log_file: Path | None = None
    """Where vLLM's log is appended; None keeps it in a temporary file, shown if the engine fails, else deleted."""
    start_timeout_s: float = 900.0
    """Longest time that a start may take, compilation included."""

    def __post_init__(self) -> None:
        for name, value, least in (
            ("max_num_seqs", self.max_num_seqs, 1),
            ("max_num_batched_tokens", self.max_num_batched_tokens, self.max_num_seqs),
            ("max_queued_requests", self.max_queued_requests, 1),
            ("kv_cache_bytes", self.kv_cache_bytes, 1),
            ("tensor_parallel", self.tensor_parallel, 1),
            ("start_timeout_s", self.start_timeout_s, 1),
            ("gather_s", self.gather_s, 0),
        ):
            if value < least:
                raise InputError(f"{name}={value} must be at least {least}")

        if self.context_length is not None and self.context_length < 2:
            raise InputError(f"context_length={self.context_length} must be at least 2: a prompt and an answer")
        if self.dtype not in _DTYPES:
            raise InputError(f"dtype={self.dtype!r} must be one of {', '.join(_DTYPES)}")
        if self.experts not in _EXPERTS:
            raise InputError(f"experts={self.experts!r} must be one of {', '.join(_EXPERTS)}")
