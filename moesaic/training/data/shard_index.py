"""What a folder of shards says about itself: `index.json`, the truth about which shards there are.

    index.json        written last, atomically: a shard that is not in it does not exist
    00000.tokens      token ids side by side, little-endian uint16, or uint32 if the vocabulary needs it
    00000.offsets     little-endian int64: where each document begins, and the end of the last

Every document's tokens end with the end-of-text token.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from moesaic.errors import CorpusError
from moesaic.training.data.durable import storage_errors, written_json

__all__ = ["INDEX_NAME", "ShardIndex", "ShardRecord"]

INDEX_NAME = "index.json"

_FORMAT = "moesaic-shards"
_VERSION = 1
_REBUILD = "make the shards again with: moesaic data shards"


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """One shard: its sizes, and the SHA-256 of its two files."""

    name: str
    documents: int
    tokens: int
    text_bytes: int
    tokens_digest: str
    offsets_digest: str


@dataclass(frozen=True, kw_only=True)
class ShardIndex:
    """All shards of a folder, in order."""

    vocab_size: int
    """Token ids are below this."""
    eos_token_id: int
    tokenizer: str
    """Identity of what made the tokens: a digest, or a name; empty if unknown."""
    complete: bool
    """False while a writer has more to add."""
    shards: tuple[ShardRecord, ...]

    @property
    def dtype(self) -> str:
        """Type of stored ids, as numpy names it."""
        return "<u2" if self.vocab_size <= 1 << 16 else "<u4"

    @property
    def documents(self) -> int:
        """Number of documents in all shards."""
        return sum(shard.documents for shard in self.shards)

    @property
    def tokens(self) -> int:
        """Number of tokens in all shards, end-of-text tokens included."""
        return sum(shard.tokens for shard in self.shards)

    @property
    def text_bytes(self) -> int:
        """UTF-8 bytes of the texts before they were tokenized: what bits per byte are counted in."""
        return sum(shard.text_bytes for shard in self.shards)

    def write(self, folder: Path) -> None:
        """Replace the folder's index, in one step."""
        value = {"format": _FORMAT, "version": _VERSION, **asdict(self)}
        written_json(folder / INDEX_NAME, value)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the index of a folder.

        Raises:
            CorpusError: there is none, or it is damaged or of an unknown version.
        """
        path = folder / INDEX_NAME
        try:
            with storage_errors(path):
                content = path.read_bytes()
        except FileNotFoundError as error:
            raise CorpusError(f"{folder} has no shards ({INDEX_NAME} is not there): {_REBUILD}") from error

        try:
            value = json.loads(content)
        except ValueError as error:
            raise CorpusError(f"{path} is damaged ({error}): {_REBUILD}") from error

        if not isinstance(value, dict) or value.get("format") != _FORMAT:
            raise CorpusError(f"{path} is not an index of shards: {_REBUILD}")

        if value.get("version") != _VERSION:
            raise CorpusError(
                f"{path} has version {value.get('version')!r}, this Moesaic reads version {_VERSION}: {_REBUILD}"
            )

        return cls._from_json(value, path)

    @classmethod
    def _from_json(cls, value: Mapping[str, Any], path: Path) -> Self:
        fields = {name: value[name] for name in value if name not in ("format", "version", "shards")}
        try:
            index = cls(**fields, shards=tuple(ShardRecord(**shard) for shard in value["shards"]))
            sound = all(
                isinstance(number, int) and number >= 0
                for shard in index.shards
                for number in (shard.documents, shard.tokens, shard.text_bytes)
            )
            sound = sound and 0 <= index.eos_token_id < index.vocab_size
        except (KeyError, TypeError) as error:
            raise CorpusError(f"{path} is damaged ({error}): {_REBUILD}") from error

        if not sound:
            raise CorpusError(f"{path} is damaged (a number is out of its range): {_REBUILD}")

        return index
