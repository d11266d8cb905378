"""Where raw text comes from: files and folders, knowledge bases, and how their documents are cut."""

from dataclasses import dataclass
from typing import Literal

from moesaic.errors import RecipeError
from moesaic.training.data.text_file import checked_encoding

__all__ = ["FORMATS", "SourceConfig", "TextFormat"]

TextFormat = Literal["auto", "text", "jsonl", "html", "parquet", "man"]
FORMATS: tuple[TextFormat, ...] = ("auto", "text", "jsonl", "html", "parquet", "man")

_LEAST_CHARACTERS = 200


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """One corpus of a recipe."""

    name: str
    """What shards, reports and ratios call it: letters, digits, `-` and `_`."""
    paths: tuple[str, ...]
    """Files and folders; `kb:NAME` is a knowledge base."""
    ratio: float | None = None
    """Its share of the rows of every batch, in proportion to the other sources' ratios; by tokens if none has one."""
    format: TextFormat = "auto"
    """What the files are; `auto` goes by their names, and passes over those that it does not know."""
    text_field: str = "text"
    """Field of JSON lines, or column of Parquet, that holds the text."""
    encoding: str = "utf-8"
    """Encoding of files without a byte order mark; places that are not text in it are counted, and become U+FFFD."""
    by_line: bool = False
    """Whether every line of a text file is a document."""
    longest: int = 50_000
    """Characters of the longest document; a longer one is divided where paragraphs, lines or sentences end."""

    def __post_init__(self) -> None:
        """Refuse what names no documents."""
        if not self.name or not all(letter.isalnum() or letter in "-_" for letter in self.name):
            raise RecipeError(f"name={self.name!r} must be made of letters, digits, - and _")

        if not self.paths:
            raise RecipeError(f"paths=() of source {self.name!r} must name at least one file, folder or kb:NAME")

        if self.format not in FORMATS:
            raise RecipeError(f"format={self.format!r} must be one of {', '.join(FORMATS)}")

        if self.ratio is not None and not 0 < self.ratio < float("inf"):
            raise RecipeError(f"ratio={self.ratio!r} of source {self.name!r} must be above 0")

        if self.longest < _LEAST_CHARACTERS:
            raise RecipeError(f"longest={self.longest!r} must be at least {_LEAST_CHARACTERS} characters")

        checked_encoding(self.encoding)
