"""The limits of a toolbox."""

from dataclasses import dataclass

from moesaic.errors import InputError

__all__ = ["ToolboxOptions"]


@dataclass(frozen=True, kw_only=True)
class ToolboxOptions:
    """What holds for every call.

    Raises:
        InputError: a value is out of its range.
    """

    timeout_s: float = 30.0
    """Longest time of one attempt, where the tool names no other; above 0, at most 3600."""
    attempts: int = 3
    """Most attempts of a call of an idempotent tool whose failure may pass; 1 to 10."""
    backoff_s: float = 0.2
    """Wait before the second attempt, doubled before each further one; 0 to 60."""
    approval_timeout_s: float = 300.0
    """Longest wait for a person; above 0, at most 86400."""
    result_characters: int = 16_000
    """Most characters that a model is told; 100 to 10 million."""
    artifact_bytes: int = 1_000_000
    """Most bytes of an artifact as JSON; 0 to 1 billion."""
    remembered_calls: int = 1024
    """Most outcomes that are kept for repetitions of their calls; 1 to 1 million."""
    needs_approval: frozenset[str] = frozenset()
    """Tools that a person has to agree to, besides those that ask for it themselves."""

    def __post_init__(self) -> None:
        """Check the ranges once."""
        for name, low, high in (
            ("timeout_s", 1e-3, 3600),
            ("attempts", 1, 10),
            ("backoff_s", 0, 60),
            ("approval_timeout_s", 1e-3, 86_400),
            ("result_characters", 100, 10_000_000),
            ("artifact_bytes", 0, 1_000_000_000),
            ("remembered_calls", 1, 1_000_000),
        ):
            if not low <= (value := getattr(self, name)) <= high:
                raise InputError(f"{name}={value!r} must be {low:g} to {high:g}")
