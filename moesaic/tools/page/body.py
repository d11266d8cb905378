"""The body of an answer, never more of it in memory than is allowed: not as received, not after decompression.

Only gzip and deflate are asked for and read: zlib hands out decompressed bytes in portions of a bounded size, so a bomb
is noticed when its first megabytes come out. An answer in another encoding has not done what it was asked for.
"""

import zlib
from collections.abc import AsyncIterable, Callable
from typing import Protocol

from moesaic.errors import PageLimitError, UnreadablePageError

__all__ = ["ACCEPTED_ENCODINGS", "read_body"]

ACCEPTED_ENCODINGS = "gzip, deflate"
"""What is asked for in Accept-Encoding."""

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_BITS, _ZLIB_BITS, _RAW_BITS = 31, 15, -15


class _Decoder(Protocol):
    def feed(self, data: bytes, room: int) -> bytes: ...

    def check_end(self) -> None: ...


class _Identity:
    def feed(self, data: bytes, room: int) -> bytes:
        return data

    def check_end(self) -> None:
        """Nothing can be missing: the connection counts plain bytes."""


class _Inflater:
    """A gzip body may have several members; a deflate body comes with zlib's header or, from old servers, without."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._stream = None if kind == "deflate" else zlib.decompressobj(_GZIP_BITS)

    def feed(self, data: bytes, room: int) -> bytes:
        if self._stream is None and data:
            has_header = data[0] & 0x0F == 8 and data[0] >> 4 <= 7
            self._stream = zlib.decompressobj(_ZLIB_BITS if has_header else _RAW_BITS)
        portions: list[bytes] = []
        while data and room > 0 and self._stream is not None:
            if self._stream.eof:
                if self._kind != "gzip" or not data.startswith(_GZIP_MAGIC):
                    break  # padding after the end
                self._stream = zlib.decompressobj(_GZIP_BITS)
            portion = self._stream.decompress(data, room)
            data = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            room -= len(portion)
            portions.append(portion)
        return b"".join(portions)

    def check_end(self) -> None:
        if self._stream is not None and not self._stream.eof:
            raise zlib.error("it ends too early")


def _free(count: int) -> None:
    """What bytes cost where nobody counts them."""


async def read_body(
    chunks: AsyncIterable[bytes], *, encoding: str, limit: int, url: str, spend: Callable[[int], None] = _free
) -> bytes:
    """The decompressed body.

    Args:
        chunks: the body as it comes.
        encoding: what the answer says of its compression, empty for none.
        limit: most bytes, received and decompressed alike.
        url: where it comes from, for errors.
        spend: told of the bytes received, as they come; it may raise to end the reading.

    Raises:
        PageLimitError: there are more bytes.
        UnreadablePageError: it is compressed in another way, or damaged.
    """
    decoder = _decoder(encoding, url)
    received, size = 0, 0
    portions: list[bytes] = []
    try:
        async for chunk in chunks:
            received += len(chunk)
            spend(len(chunk))
            # One byte more than is allowed tells a body that ends there from one that goes on.
            portion = decoder.feed(chunk, limit + 1 - size)
            size += len(portion)
            portions.append(portion)
            if max(received, size) > limit:
                unpacked = f" ({received} as received)" if size > received else ""
                raise PageLimitError(f"{url!r} has more than {limit} bytes{unpacked}: it is not read", url=url)
        decoder.check_end()
    except zlib.error as error:
        raise UnreadablePageError(
            f"{url!r} is damaged: its {encoding} data cannot be read ({error})", url=url
        ) from error

    return b"".join(portions)


def _decoder(encoding: str, url: str) -> _Decoder:
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return _Identity()
    if name in ("gzip", "x-gzip"):
        return _Inflater("gzip")
    if name == "deflate":
        return _Inflater("deflate")
    raise UnreadablePageError(
        f"{url!r} is compressed as {encoding[:60]!r}, though only {ACCEPTED_ENCODINGS} were asked for", url=url
    )
