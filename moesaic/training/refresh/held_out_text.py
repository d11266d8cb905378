"""Held-out text as rows of tokens, and the bits per byte that a model needs for it."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from moesaic.training.text_source import TextConfig, read_documents

__all__ = ["TextRows", "bits_per_byte", "text_rows"]


class TextRows(NamedTuple):
    """A text, cut into rows that overlap by one token, and the bytes that predicting them accounts for."""

    rows: list[list[int]]
    text_bytes: int


def text_rows(path: Path, encode: Callable[[str], list[int]], begin: int, *, length: int, max_bytes: int) -> TextRows:
    """Tokenize a file, or the .txt and .md files of a folder, up to `max_bytes` bytes; each begins with token `begin`.

    Raises:
        CorpusError: nothing is there, or it is not UTF-8.
    """
    rows: list[list[int]] = []
    used = 0
    for document in read_documents(TextConfig(paths=(path,))):
        text = document.encode()[: max_bytes - used].decode(errors="ignore")
        if not text:
            break
        used += len(text.encode())
        ids = [begin, *encode(text)]
        rows += [ids[start : start + length] for start in range(0, len(ids) - 1, length - 1)]
    return TextRows(rows, used)


def bits_per_byte(text: TextRows, logprobs: Sequence[Sequence[float]]) -> float:
    """Total -log2 p of all tokens over the bytes of the text in UTF-8."""
    return -math.fsum(math.fsum(row) for row in logprobs) / math.log(2) / text.text_bytes
