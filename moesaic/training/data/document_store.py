"""Documents on disk between two stages: JSON lines with an index, so that any of them can be read alone.

documents.jsonl     one `TextDocument` a line
documents.offsets   little-endian int64: where each line begins, and the end of the last
"""

import mmap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from moesaic.errors import CorpusError
from moesaic.training.data.durable import written_file
from moesaic.training.data.text_document import TextDocument

__all__ = ["DocumentStore", "StoredTexts", "write_documents"]

_LINES, _OFFSETS = "documents.jsonl", "documents.offsets"


def write_documents(folder: Path, documents: Iterable[TextDocument]) -> int:
    """Write documents into a folder that exists, and give their number."""
    offsets = [0]
    with written_file(folder / _LINES) as file:
        for document in documents:
            offsets.append(offsets[-1] + file.write(document.to_line()))
    with written_file(folder / _OFFSETS) as file:
        file.write(np.asarray(offsets, dtype="<i8").tobytes())
    return len(offsets) - 1


class DocumentStore:
    """The documents of a folder, memory-mapped.

    Raises:
        CorpusError: a file is missing or truncated, or a line is no document.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self._offsets = np.fromfile(folder / _OFFSETS, dtype="<i8")
            with (folder / _LINES).open("rb") as file:
                size = file.seek(0, 2)
                # An empty file cannot be mapped.
                self._lines = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        except OSError as error:
            raise CorpusError(
                f"{folder} cannot be read ({error.strerror or error}): remove it, and run again"
            ) from error

        if not self._offsets.size or self._offsets[-1] != size:
            raise CorpusError(f"{folder} is damaged ({_LINES} has {size} bytes): remove it, and run again")

    def __len__(self) -> int:
        return int(self._offsets.size) - 1

    def __getitem__(self, number: int) -> TextDocument:
        line = self._lines[int(self._offsets[number]) : int(self._offsets[number + 1])]
        try:
            return TextDocument.from_line(line)
        except (ValueError, TypeError) as error:
            raise CorpusError(f"{self.folder / _LINES} is damaged at line {number + 1} ({error}): remove it") from error

    def __iter__(self) -> Iterator[TextDocument]:
        return (self[number] for number in range(len(self)))


class StoredTexts:
    """The texts of a store's documents, of all or of some."""

    def __init__(self, store: DocumentStore, numbers: Sequence[int] | None = None) -> None:
        self._store = store
        self._numbers = range(len(store)) if numbers is None else numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, number: int) -> str:
        return self._store[self._numbers[number]].text
