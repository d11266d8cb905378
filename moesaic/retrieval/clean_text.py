"""From the bytes of a source to a clean text, with the way back to the source's offsets.

What cleaning changes: a byte order mark goes, line ends become line feeds, control characters (except tab and line
feed) go, trailing white space of the whole goes. Nothing else: letters, spaces and markup stay as they are.
"""

import codecs
import re
from typing import NamedTuple

from moesaic.errors import DocumentError, InputError
from moesaic.retrieval.source_map import SourceMap

__all__ = ["CleanText", "clean", "decode"]

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DIRT = re.compile("\r\n?|[\x00-\x08\x0b-\x1f\x7f\ufeff\ud800-\udfff]")
_SNIFFED_BYTES = 8192


class CleanText(NamedTuple):
    """A cleaned text, and the map from its offsets to those of the decoded source, without its byte order mark."""

    text: str
    source_map: SourceMap


def decode(content: bytes, encoding: str = "utf-8") -> str:
    """Decode text; a byte order mark counts for more than `encoding`.

    Raises:
        DocumentError: it is binary, or not text in this encoding.
        InputError: there is no such encoding.
    """
    try:
        codecs.lookup(encoding)
    except LookupError as error:
        raise InputError(
            f"encoding={encoding!r} is unknown; use utf-8, gb18030, big5 or another of Python's"
        ) from error

    marked = next((name for mark, name in _BOMS if content.startswith(mark)), None)
    if marked is None and b"\0" in content[:_SNIFFED_BYTES] and not encoding.lower().startswith(("utf-16", "utf-32")):
        raise DocumentError("it is binary, not text")

    try:
        return content.decode(marked or encoding)
    except UnicodeDecodeError as error:
        raise DocumentError(
            f"it is not {error.encoding} (byte 0x{content[error.start]:02x} at {error.start}): convert it, or give its "
            "encoding, such as gb18030"
        ) from error


def clean(source: str) -> CleanText:
    """Clean a decoded text.

    Raises:
        DocumentError: nothing is left.
    """
    pieces: list[str] = []
    runs: list[tuple[int, int]] = [(0, 0)]
    length = position = 0
    for dirt in _DIRT.finditer(source):
        replacement = "\n" if dirt[0][0] == "\r" else ""
        pieces += [source[position : dirt.start()], replacement]
        length += dirt.start() - position + len(replacement)
        position = dirt.end()
        runs.append((length, position))
    pieces.append(source[position:])
    text = "".join(pieces).rstrip()
    if not text:
        raise DocumentError("it is empty")

    return CleanText(text, SourceMap.from_runs(runs))
