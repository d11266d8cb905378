"""Files of text, gzipped or not: their bytes, and these decoded without ever failing on a broken place."""

import codecs
import gzip
import zlib
from pathlib import Path
from typing import NamedTuple

from moesaic.errors import CorpusError, RecipeError

__all__ = ["LARGEST_BYTES", "Decoded", "checked_encoding", "decoded", "file_bytes"]

LARGEST_BYTES = 512 << 20
"""Largest file that is read whole; what is larger belongs into JSON lines or Parquet, which are streamed."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SNIFFED_BYTES = 8192


class Decoded(NamedTuple):
    """A text, and how many places of it were not text in the encoding."""

    text: str
    broken: int


def file_bytes(path: Path) -> bytes:
    """The content of a file, unpacked if its name ends with .gz.

    Raises:
        CorpusError: it cannot be read, is damaged, or is too large.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise CorpusError(f"it cannot be read ({error})") from error

    if len(content) > LARGEST_BYTES:
        raise CorpusError(f"it has more than {LARGEST_BYTES:,} bytes: divide it, or make JSON lines of it")

    return content


def decoded(content: bytes, encoding: str = "utf-8") -> Decoded:
    """Decode bytes; a byte order mark counts for more than `encoding`, and broken places become U+FFFD.

    Raises:
        CorpusError: it is binary.
    """
    marked = next((name for mark, name in _BOMS if content.startswith(mark)), None)
    if marked is None and b"\0" in content[:_SNIFFED_BYTES] and not encoding.lower().startswith(("utf-16", "utf-32")):
        raise CorpusError("it is binary, not text")

    try:
        return Decoded(content.decode(marked or encoding), 0)
    except UnicodeDecodeError:
        text = content.decode(marked or encoding, errors="replace")
        # What stood there as U+FFFD already is not broken.
        return Decoded(text, max(1, text.count("\ufffd") - content.count("\ufffd".encode())))


def checked_encoding(encoding: str) -> str:
    """The name of an encoding that exists.

    Raises:
        RecipeError: there is none of this name.
    """
    try:
        "".encode(encoding)
    except LookupError as error:
        raise RecipeError(
            f"encoding={encoding!r} is unknown; use utf-8, gb18030, big5 or another of Python's"
        ) from error

    return encoding
