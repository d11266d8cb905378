"""Spans that are known to answer a question, and when another span has found one."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

__all__ = ["GoldSpan", "Place", "hits"]

_ENOUGH = 0.5


class GoldSpan(NamedTuple):
    """A span that answers a question, `[start, end)` of a document's text."""

    document: str
    start: int
    end: int


class Place(Protocol):
    """Anything that names a span of a document."""

    @property
    def document(self) -> str:
        """Id of the document."""
        ...

    @property
    def start(self) -> int:
        """Its first character."""
        ...

    @property
    def end(self) -> int:
        """The character after its last one."""
        ...


def hits(place: Place, gold: Iterable[GoldSpan], enough: float = _ENOUGH) -> bool:
    """Whether a span shares at least the part `enough` of the shorter of the two with a gold span."""
    return any(
        place.document == span.document
        and min(place.end, span.end) - max(place.start, span.start)
        >= max(1, enough * min(place.end - place.start, span.end - span.start))
        for span in gold
    )
