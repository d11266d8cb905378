"""How pages are fetched."""

import math
import re
from dataclasses import dataclass

import moesaic
from moesaic.errors import InputError

__all__ = ["FetchOptions"]

_AGENT = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,199}")


@dataclass(frozen=True, kw_only=True)
class FetchOptions:
    """Bounds and manners of a fetcher.

    Raises:
        InputError: a value is out of its range.
    """

    timeout_s: float = 20.0
    """Longest time for a page: redirects, robots.txt and the wait for one's turn included."""
    reading_timeout_s: float = 10.0
    """Longest time to take its HTML apart, within the one above."""
    body_bytes: int = 5 * 2**20
    """Most bytes of a page, received and decompressed alike; a larger one is refused."""
    header_bytes: int = 2**15
    """Most bytes of headers of an answer."""
    redirects: int = 5
    """Most redirects that are followed, 0 to 20."""
    text_characters: int = 200_000
    """Most characters of text; what is beyond is left out, and the page says so."""
    heeds_robots: bool = True
    """Whether robots.txt is asked for and kept to. An operator may switch it off for hosts of their own."""
    robots_ttl_s: float = 3600.0
    """How long a robots.txt is remembered, at most a day."""
    host_delay_s: float = 1.0
    """Shortest time between two requests to a host; its robots.txt may ask for more."""
    max_host_delay_s: float = 30.0
    """Longest that a robots.txt may ask for."""
    user_agent: str = f"Moesaic/{moesaic.__version__} (reads single pages for a language model; robots.txt is heeded)"
    """How the fetcher introduces itself. Operators should add an address at which they can be reached."""
    robots_name: str = "Moesaic"
    """Name by which robots.txt may address it."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("timeout_s", 0.01, 600),
            ("reading_timeout_s", 0.01, 600),
            ("body_bytes", 1, 2**30),
            ("header_bytes", 256, 2**16),
            ("redirects", 0, 20),
            ("text_characters", 1, 10**8),
            ("robots_ttl_s", 0, 86400),
            ("host_delay_s", 0, 3600),
            ("max_host_delay_s", 0, 3600),
        ):
            value = getattr(self, name)
            if not math.isfinite(value) or not low <= value <= high:
                raise InputError(f"{name}={value!r} must be {low} to {high}")
        for name in ("user_agent", "robots_name"):
            if not _AGENT.fullmatch(getattr(self, name)):
                raise InputError(f"{name}={getattr(self, name)!r} must be 1 to 200 printable ASCII characters")
