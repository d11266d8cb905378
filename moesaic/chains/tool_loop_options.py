"""How far a loop of model and tools may go."""

from dataclasses import dataclass

from moesaic.errors import InputError
from moesaic.tools.tool import Language

__all__ = ["ToolLoopOptions"]


@dataclass(frozen=True, kw_only=True)
class ToolLoopOptions:
    """The bounds of one question.

    Raises:
        InputError: a value is out of its range.
    """

    max_steps: int = 6
    """Most turns of the model; in the last one it gets no tools and has to answer. 1 to 100."""
    max_calls: int = 12
    """Most calls over all turns, 0 to 1000."""
    parallel_calls: int = 4
    """Most calls of one turn that run at once, 1 to 64."""
    max_tokens: int = 512
    """Most tokens of one turn, 1 to a million."""
    query_tokens: int = 128
    """Most tokens of one token-activated query, 1 to 100 000."""
    result_characters: int = 4000
    """Most characters of one result that the model reads, 100 to 10 million."""
    language: Language = "en"
    """Language of tools' descriptions and of our own instructions: en or zh."""
    system_prompt: str = ""
    """What the model is told before all else."""

    def __post_init__(self) -> None:
        """Check the ranges once."""
        for name, low, high in (
            ("max_steps", 1, 100),
            ("max_calls", 0, 1000),
            ("parallel_calls", 1, 64),
            ("max_tokens", 1, 1_000_000),
            ("query_tokens", 1, 100_000),
            ("result_characters", 100, 10_000_000),
        ):
            if not low <= (value := getattr(self, name)) <= high:
                raise InputError(f"{name}={value!r} must be {low} to {high}")
        if self.language not in ("en", "zh"):
            raise InputError(f"language={self.language!r} must be en or zh")
