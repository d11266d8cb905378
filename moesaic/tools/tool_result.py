"""What a tool gives back: text for the model, values for programs, and where both come from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moesaic.errors import ToolError

__all__ = ["ToolCitation", "ToolResult"]

_MAX_CITATIONS = 100


@dataclass(frozen=True, kw_only=True)
class ToolCitation:
    """Where a part of a result comes from: a page, or a span of a document."""

    source: str
    """Address of a page, or name of a document."""
    title: str = ""
    start: int | None = None
    end: int | None = None
    """The span of the document's text in code points; None for a whole page."""
    quote: str = ""
    """What stands there."""

    def to_json(self) -> dict[str, Any]:
        """The citation as plain JSON values."""
        return {
            "source": self.source,
            "title": self.title,
            "start": self.start,
            "end": self.end,
            "quote": self.quote,
        }


@dataclass(frozen=True, kw_only=True)
class ToolResult:
    """What one call gave."""

    content: str
    """Told to the model."""
    artifact: Any = None
    """The same for programs: plain JSON values."""
    citations: tuple[ToolCitation, ...] = ()
    """Where it comes from."""

    def limited(self, *, characters: int, artifact_bytes: int) -> "ToolResult":
        """The result within limits: text is cut with a note, an artifact that is too large is left out with a note.

        Raises:
            ToolError: the artifact is not JSON.
        """
        content = self.content.encode(errors="replace").decode()  # half a surrogate pair is no text
        if len(content) > characters:
            note = f"\n[cut here: the first {characters} of {len(content)} characters]"
            content = content[:characters] + note
        artifact = self.artifact
        try:
            size = len(json.dumps(artifact, ensure_ascii=False, allow_nan=False).encode(errors="replace"))
        except (TypeError, ValueError, RecursionError) as error:
            raise ToolError(
                f"the tool's artifact is not JSON ({str(error)[:120]}); it must give plain values"
            ) from error
        if size > artifact_bytes:
            artifact = {"left_out_bytes": size, "allowed_bytes": artifact_bytes}
        return ToolResult(content=content, artifact=artifact, citations=self.citations[:_MAX_CITATIONS])

    def to_json(self) -> Mapping[str, Any]:
        """The result as plain JSON values."""
        return {
            "content": self.content,
            "artifact": self.artifact,
            "citations": [citation.to_json() for citation in self.citations],
        }
