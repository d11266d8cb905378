"""Tokens into shards, a shard at a time, so that a killed writer goes on where its last whole shard ended.

    with ShardWriter(folder, vocab_size=8192, eos_token_id=0) as writer:
        for text in islice(texts, writer.documents, None):      # what a former run has written is kept
            writer.add(tokenizer.encode(text), text_bytes=len(text.encode()))
        writer.finish()

Leaving the block without `finish` keeps the whole shards, and the last one that is not full is lost: documents in
shards depend on the documents alone, not on where a run was interrupted.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from moesaic.artifact.staging import lock_folder, unlock_folder
from moesaic.errors import CorpusError, InputError, RunBusyError
from moesaic.training.data.durable import made_folder, storage_errors, written_file
from moesaic.training.data.shard_index import INDEX_NAME, ShardIndex, ShardRecord

__all__ = ["ShardWriter"]

_Ids = Sequence[int] | npt.NDArray[np.integer]


class ShardWriter:
    """Context manager that adds documents to the shards of a folder. One process writes to a folder at a time.

    Args:
        folder: made if it is not there. Shards of an interrupted writer in it are kept if their vocabulary, end token
            and tokenizer are the same.
        vocab_size: ids are below it.
        eos_token_id: put behind every document.
        tokenizer: identity of what makes the tokens, kept in the index.
        shard_tokens: a shard is closed by the document that brings it to so many tokens.

    Raises:
        InputError: a number is out of its range.
        CorpusError: on entry, the folder holds complete or other shards.
        RunBusyError: on entry, another process is writing there.
        StorageError: anywhere, the disk is full or may not be written.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        vocab_size: int,
        eos_token_id: int,
        tokenizer: str = "",
        shard_tokens: int = 1 << 24,
    ) -> None:
        if not 1 <= vocab_size <= 1 << 32:
            raise InputError(f"vocab_size={vocab_size!r} must be 1 to {1 << 32}")

        if not 0 <= eos_token_id < vocab_size:
            raise InputError(f"eos_token_id={eos_token_id!r} must be 0 to vocab_size - 1 ({vocab_size - 1})")

        if shard_tokens < 1:
            raise InputError(f"shard_tokens={shard_tokens!r} must be at least 1")

        self.folder = Path(folder)
        self.shard_tokens = shard_tokens
        self._index = ShardIndex(
            vocab_size=vocab_size, eos_token_id=eos_token_id, tokenizer=tokenizer, complete=False, shards=()
        )
        self._lock: int | None = None
        self._pieces: list[npt.NDArray[np.integer]] = []
        self._held_tokens = 0
        self._held_bytes = 0

    @property
    def documents(self) -> int:
        """Documents that have been added, by this writer or by interrupted ones before it."""
        return self._index.documents + len(self._pieces)

    def __enter__(self) -> Self:
        made_folder(self.folder)
        with storage_errors(self.folder):
            self._lock = lock_folder(self.folder, wait=False)
        if self._lock is None:
            raise RunBusyError(f"another process is writing shards to {self.folder}: wait for it, or choose another")

        try:
            self._take_up()
        except BaseException:
            self._release()
            raise

        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def add(self, ids: _Ids, *, text_bytes: int = 0) -> None:
        """Add one document; its end-of-text token is put behind it.

        Args:
            ids: token ids, without the end token. A document without tokens is refused.
            text_bytes: UTF-8 bytes of its text.

        Raises:
            CorpusError: it has no tokens, or an id is outside of the vocabulary.
        """
        ids_T = np.asarray(ids)
        if ids_T.ndim != 1 or not ids_T.size:
            raise CorpusError(f"document {self.documents} has no tokens: leave empty documents out")

        low, high = int(ids_T.min()), int(ids_T.max())
        if low < 0 or high >= self._index.vocab_size:
            raise CorpusError(
                f"document {self.documents} has the token id {low if low < 0 else high}, allowed are 0 to "
                f"{self._index.vocab_size - 1}: give the vocab_size of the tokenizer that made it"
            )

        self._pieces.append(np.append(ids_T, self._index.eos_token_id).astype(self._index.dtype))
        self._held_tokens += ids_T.size + 1
        self._held_bytes += text_bytes
        if self._held_tokens >= self.shard_tokens:
            self._write_shard()

    def finish(self) -> ShardIndex:
        """Write what is left and mark the shards complete.

        Raises:
            CorpusError: no document was added.
        """
        if self._pieces:
            self._write_shard()
        if not self._index.shards:
            raise CorpusError(f"there is no document for the shards of {self.folder}: nothing was left of the sources")

        self._index = replace(self._index, complete=True)
        self._index.write(self.folder)
        return self._index

    def _take_up(self) -> None:
        """Go on from the index of an interrupted writer, and remove files that it does not name."""
        if (self.folder / INDEX_NAME).exists():
            found = ShardIndex.read(self.folder)
            same = replace(found, shards=(), complete=False) == self._index
            if found.complete or not same:
                state = "complete" if found.complete else "made with another tokenizer"
                raise CorpusError(f"the shards of {self.folder} are {state}: remove them, or choose another folder")

            self._index = found
        named = {shard.name for shard in self._index.shards}
        with storage_errors(self.folder):
            for path in self.folder.iterdir():
                leftover = path.suffix in (".tokens", ".offsets") and path.stem not in named
                if leftover or ".partial-" in path.name:
                    with suppress(FileNotFoundError):
                        path.unlink()

    def _write_shard(self) -> None:
        name = f"{len(self._index.shards):05d}"
        tokens_T = np.concatenate(self._pieces)
        offsets = np.cumsum([0, *(piece.size for piece in self._pieces)], dtype="<i8")
        record = ShardRecord(
            name=name,
            documents=len(self._pieces),
            tokens=int(tokens_T.size),
            text_bytes=self._held_bytes,
            tokens_digest=self._write(f"{name}.tokens", tokens_T),
            offsets_digest=self._write(f"{name}.offsets", offsets),
        )
        self._index = replace(self._index, shards=(*self._index.shards, record))
        self._index.write(self.folder)
        self._pieces, self._held_tokens, self._held_bytes = [], 0, 0

    def _write(self, name: str, values: npt.NDArray[np.integer]) -> str:
        content = values.tobytes()
        with written_file(self.folder / name) as file:
            file.write(content)
        return hashlib.sha256(content).hexdigest()

    def _release(self) -> None:
        if self._lock is not None:
            unlock_folder(self._lock)
            self._lock = None
