"""How many tokens a vocabulary is extended by, and of what kind."""

from dataclasses import dataclass
from typing import Literal

from moesaic.errors import RecipeError

__all__ = ["ExtensionConfig"]


@dataclass(frozen=True, kw_only=True)
class ExtensionConfig:
    """What is mined from text and added to a BPE vocabulary."""

    tokens: int = 4_000
    """Tokens to add at most, 1 to 200,000; fewer if the text does not repeat itself enough."""

    script: Literal["han", "any"] = "han"
    """`han`: only pieces made of Chinese characters and their punctuation. `any`: also words of a domain, within what
    the tokenizer takes for a word."""

    least_count: int = 5
    """How often the parts of a new piece must stand side by side in the text: at least 2."""

    longest_piece: int = 8
    """Most characters of a new piece, 1 to 64."""

    row_multiple: int = 128
    """The embedding's rows are padded to a multiple of this: 1 to 4,096."""

    def __post_init__(self) -> None:
        """Refuse values outside their ranges (`RecipeError`)."""
        if not 1 <= self.tokens <= 200_000 or self.least_count < 2:
            raise RecipeError(
                f"tokens={self.tokens!r} must be 1 to 200,000, least_count={self.least_count!r} at least 2"
            )
        if self.script not in ("han", "any"):
            raise RecipeError(f"script={self.script!r} is unknown: choose han or any")
        if not 1 <= self.longest_piece <= 64 or not 1 <= self.row_multiple <= 4_096:
            raise RecipeError(
                f"longest_piece={self.longest_piece!r} must be 1 to 64, row_multiple={self.row_multiple!r} 1 to 4,096"
            )
