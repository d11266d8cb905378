"""A document: a cleaned text with its sections, as loaders make it and knowledge bases store it.

Every offset in this package counts code points of `Document.text`, from 0; a span is `[start, end)`.
"""

import hashlib
from dataclasses import dataclass, field

from moesaic.errors import DocumentError
from moesaic.retrieval.source_map import SourceMap

__all__ = ["Document", "Section"]

_MAX_ID_LENGTH = 500


@dataclass(frozen=True, kw_only=True)
class Section:
    """A stretch of a document under one heading, the heading itself included."""

    start: int
    end: int
    heading_path: tuple[str, ...] = ()
    """Headings from the outermost to this one; empty before the first heading."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """One document. Its sections lie in order, side by side, from the beginning of the text to its end.

    Raises:
        DocumentError: the id or the text cannot be stored, or the sections do not tile the text.
    """

    id: str
    """Name within a knowledge base; adding another document of the same name replaces this one."""
    title: str
    text: str
    media_type: str = "text/plain"
    source: str = ""
    """Where it came from: a path, or the name of a corpus."""
    sections: tuple[Section, ...] = ()
    """None given means one section without a heading."""
    source_map: SourceMap = field(default_factory=SourceMap.identity)
    """From offsets in `text` to offsets in the decoded source."""

    def __post_init__(self) -> None:
        """Check what the rest of the package relies on."""
        if not self.id.strip() or len(self.id) > _MAX_ID_LENGTH or not self.id.isprintable():
            raise DocumentError(
                f"document id {self.id!r} must be 1 to {_MAX_ID_LENGTH} printable characters; give it another name"
            )

        if not self.text.strip():
            raise DocumentError(f"{self.id!r} has no text; leave it out")

        if "\0" in self.text or not _is_encodable(self.text):
            raise DocumentError(f"the text of {self.id!r} has characters that are no text (NUL or half a surrogate)")

        if not self.sections:
            object.__setattr__(self, "sections", (Section(start=0, end=len(self.text)),))

        ends = [0, *(section.end for section in self.sections)]
        tiles = all(section.start == end <= section.end for section, end in zip(self.sections, ends, strict=False))
        if not tiles or ends[-1] != len(self.text):
            raise DocumentError(f"the sections of {self.id!r} must tile its text, 0 to {len(self.text)} without gaps")

    @property
    def digest(self) -> str:
        """Identity of the content: text, title, type and sections, but not where it came from."""
        parts = [self.title, self.media_type, self.text]
        parts += [f"{section.start}:{section.end}:{'/'.join(section.heading_path)}" for section in self.sections]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
