"""What a page is: what its header says, and whether its bytes agree."""

from typing import NamedTuple, Self

import httpx

from moesaic.errors import UnreadablePageError

__all__ = ["MediaType", "check_text"]

_HTML = frozenset({"text/html", "application/xhtml+xml"})
_TEXT = frozenset({"application/json", "application/xml", "application/yaml", "application/x-ndjson"})
_TEXT_SUFFIXES = ("+json", "+xml")
_NO_TEXT = frozenset({"text/event-stream"})  # has no end
_MAGIC = (b"%PDF-", b"\x89PNG", b"PK\x03\x04", b"GIF8", b"\xff\xd8\xff", b"\x1f\x8b", b"\x7fELF", b"RIFF", b"Rar!")
_SNIFFED_BYTES = 8192


class MediaType(NamedTuple):
    """A media type that can be read, and the charset that the header names."""

    name: str
    charset: str
    """Empty if the header names none."""

    @property
    def is_html(self) -> bool:
        """Whether it is HTML, to be taken apart."""
        return self.name in _HTML

    @classmethod
    def of(cls, headers: httpx.Headers, body: bytes, url: str) -> Self:
        """The media type of an answer; where the header names none, HTML if it begins like it, and plain text if not.

        Raises:
            UnreadablePageError: it is no text, or its bytes are none.
        """
        name, charset = check_text(headers, url)
        wide = charset.lower().startswith(("utf-16", "utf-32")) or body.startswith((b"\xff\xfe", b"\xfe\xff"))
        if body.startswith(_MAGIC) or (b"\0" in body[:_SNIFFED_BYTES] and not wide):
            raise UnreadablePageError(f"{url!r} calls itself {name or 'nothing'}, but is binary: not read", url=url)

        if not name:
            start = body[:_SNIFFED_BYTES].lstrip(b"\xef\xbb\xbf\t\n\r ").lower()
            name = "text/html" if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) else "text/plain"
        return cls(name, charset)


def check_text(headers: httpx.Headers, url: str) -> tuple[str, str]:
    """Name and charset that a header gives, both empty if there is none.

    Raises:
        UnreadablePageError: it names something that is no text.
    """
    given, *parameters = headers.get("content-type", "").split(";")
    name = given.strip().lower()
    is_text = name in _HTML | _TEXT or name.startswith("text/") or name.endswith(_TEXT_SUFFIXES)
    if name and (not is_text or name in _NO_TEXT):
        raise UnreadablePageError(f"{url!r} is {name[:80]}: only HTML, plain text, JSON and XML are read", url=url)

    charset = next((value for key, _, value in map(_parted, parameters) if key == "charset"), "")
    return name, charset


def _parted(parameter: str) -> tuple[str, str, str]:
    key, equals, value = parameter.partition("=")
    return key.strip().lower(), equals, value.strip().strip("\"'")[:40]
