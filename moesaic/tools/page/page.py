"""What fetching gives."""

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Page"]


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page as text, with what is needed to cite it and to show later what was seen."""

    url: str
    """What was asked for."""
    final_url: str
    """Where it was found, after redirects."""
    title: str
    """Its title; empty if it gives none."""
    text: str
    """Its readable text: of HTML without menus and advertisements, of anything else all of it."""
    truncated: bool
    """Whether the page goes on where the text ends."""
    published: str
    """Date that the page gives for itself, in ISO form; empty if it gives none."""
    media_type: str
    """What it was read as, such as text/html."""
    charset: str
    """Encoding that it was read in, by its Python name."""
    fetched_at: str
    """When it was fetched, UTC in ISO form."""
    sha256: str
    """Digest of the bytes that came, decompressed, in hexadecimal digits."""
    byte_count: int
    """How many those are."""
    redirects: tuple[str, ...] = ()
    """Addresses on the way, without the first and the last."""

    def to_json(self) -> dict[str, Any]:
        """The page as plain JSON values."""
        return asdict(self) | {"redirects": list(self.redirects)}
