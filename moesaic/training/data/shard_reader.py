"""Documents out of shards: memory-mapped, so that a corpus may be larger than memory."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from moesaic.errors import CorpusError
from moesaic.training.data.durable import file_digest
from moesaic.training.data.shard_index import ShardIndex, ShardRecord

__all__ = ["ShardReader"]

_REBUILD = "make the shards again with: moesaic data shards"


class ShardReader:
    """The documents of a folder of shards, by number.

    Args:
        folder: what a `ShardWriter` finished.
        verify: whether to compare every file with its recorded digest. Sizes and offsets are checked in any case.

    Raises:
        CorpusError: there are no shards, they are incomplete or empty, or a file is missing, truncated or altered.
    """

    def __init__(self, folder: str | Path, *, verify: bool = True) -> None:
        self.folder = Path(folder)
        self.index = ShardIndex.read(self.folder)
        if not self.index.complete:
            raise CorpusError(f"the shards of {self.folder} are not complete: run what wrote them again, it goes on")

        if not self.index.documents:
            raise CorpusError(f"the shards of {self.folder} hold no document: {_REBUILD}")

        self._tokens: list[npt.NDArray[np.integer]] = []
        self._offsets: list[npt.NDArray[np.integer]] = []
        for shard in self.index.shards:
            tokens = self._mapped(shard, "tokens", self.index.dtype, shard.tokens)
            offsets = self._mapped(shard, "offsets", "<i8", shard.documents + 1)
            self._check_offsets(shard, offsets)
            self._tokens.append(tokens)
            self._offsets.append(offsets)
        if verify:
            self.verify()
        self._first = np.cumsum([0, *(shard.documents for shard in self.index.shards)])
        self.lengths_N: npt.NDArray[np.int64] = np.concatenate([np.diff(offsets) for offsets in self._offsets]).astype(
            np.int64
        )
        """Tokens of each document, its end-of-text token included [N documents]."""

    def __len__(self) -> int:
        return self.index.documents

    def __getitem__(self, number: int) -> npt.NDArray[np.integer]:
        """Token ids [T] of document `number`, the end-of-text token last; a view of the file, not a copy."""
        return self.piece(number, 0, int(self.lengths_N[number]))

    def __iter__(self) -> Iterator[npt.NDArray[np.integer]]:
        return (self[number] for number in range(len(self)))

    @property
    def digest(self) -> str:
        """Identity of the content: equal for equal documents in equal shards."""
        parts = (part for shard in self.index.shards for part in (shard.tokens_digest, shard.offsets_digest))
        return hashlib.sha256("".join(parts).encode()).hexdigest()

    def piece(self, number: int, start: int, stop: int) -> npt.NDArray[np.integer]:
        """Tokens [stop - start] of document `number` from `start` on."""
        shard = int(np.searchsorted(self._first, number, side="right")) - 1
        begin = int(self._offsets[shard][number - self._first[shard]])
        return self._tokens[shard][begin + start : begin + stop]

    def verify(self) -> None:
        """Compare every file with its recorded digest, and every token with the vocabulary.

        Raises:
            CorpusError: one differs.
        """
        for shard, tokens in zip(self.index.shards, self._tokens, strict=True):
            for suffix, wanted in (("tokens", shard.tokens_digest), ("offsets", shard.offsets_digest)):
                path = self.folder / f"{shard.name}.{suffix}"
                if file_digest(path) != wanted:
                    raise CorpusError(f"{path} was altered (its digest is not the one of the index): {_REBUILD}")

            highest = int(tokens.max())
            if highest >= self.index.vocab_size:
                raise CorpusError(
                    f"{self.folder}/{shard.name}.tokens has the token id {highest}, allowed are 0 to "
                    f"{self.index.vocab_size - 1}: {_REBUILD}"
                )

    def _mapped(self, shard: ShardRecord, suffix: str, dtype: str, count: int) -> npt.NDArray[np.integer]:
        path = self.folder / f"{shard.name}.{suffix}"
        wanted = count * np.dtype(dtype).itemsize
        try:
            size = path.stat().st_size
            if size != wanted:
                raise CorpusError(f"{path} has {size} bytes, the index says {wanted}: {_REBUILD}")

            if not size:
                raise CorpusError(f"{path} is empty: {_REBUILD}")

            return np.memmap(path, dtype=dtype, mode="r")
        except OSError as error:
            raise CorpusError(f"{path} cannot be read ({error.strerror or error}): {_REBUILD}") from error

    def _check_offsets(self, shard: ShardRecord, offsets: npt.NDArray[np.integer]) -> None:
        if offsets[0] != 0 or offsets[-1] != shard.tokens or (np.diff(offsets) < 1).any():
            raise CorpusError(f"{self.folder}/{shard.name}.offsets is damaged (no rising sequence): {_REBUILD}")
