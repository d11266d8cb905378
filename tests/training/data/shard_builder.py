"""Small shards for tests."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from moesaic.training.data.shard_reader import ShardReader
from moesaic.training.data.shard_writer import ShardWriter

__all__ = ["EOS", "VOCAB", "numbered_documents", "write_shards"]

VOCAB = 1000
EOS = 0


def numbered_documents(lengths: Iterable[int], first: int = 1) -> list[list[int]]:
    """Documents of these lengths whose tokens count up, so that every token can be told from every other."""
    documents = []
    for length in lengths:
        documents.append(list(range(first, first + length)))
        first += length
    return documents


def write_shards(
    folder: Path, documents: Iterable[Sequence[int]], *, shard_tokens: int = 50, vocab_size: int = VOCAB
) -> ShardReader:
    """Shards of these documents, opened."""
    with ShardWriter(folder, vocab_size=vocab_size, eos_token_id=EOS, shard_tokens=shard_tokens) as writer:
        for ids in documents:
            writer.add(np.asarray(ids), text_bytes=3 * len(ids))
        writer.finish()
    return ShardReader(folder)
