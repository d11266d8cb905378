"""One text on its way to the shards."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

__all__ = ["TextDocument"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TextDocument:
    """A text, and where it came from."""

    id: str
    """Unique within its corpus: a path, with a line or row number where a file holds several."""
    text: str
    corpus: str = ""
    """Name of the source in the recipe; shards and ratios go by it."""
    broken: int = 0
    """Places that were not text in the encoding of the source, each shown as U+FFFD."""

    def to_line(self) -> bytes:
        """The document as one line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """The document that `to_line` gave."""
        value: dict[str, Any] = json.loads(line)
        return cls(**value)
