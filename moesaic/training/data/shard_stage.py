"""The last stage: documents into shards, those of each source apart, and some of each held out.

    shards/SOURCE/train/        what is trained on
    shards/SOURCE/held_out/     what loss is measured on

Which documents are held out is decided by a digest of their text: it stays the same when documents before or after
them come and go, and after deduplication none of them has a near copy on the other side.
"""

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from moesaic.errors import CorpusError
from moesaic.training.data.document_store import DocumentStore
from moesaic.training.data.shard_index import INDEX_NAME, ShardIndex
from moesaic.training.data.shard_writer import ShardWriter
from moesaic.training.data.text_encoder import TextEncoder, encoder_digest
from moesaic.training.data.text_stages import StageProgress

__all__ = ["HELD_OUT", "TRAIN", "write_all_shards"]

TRAIN, HELD_OUT = "train", "held_out"
_REPORT_EVERY = 64


def write_all_shards(
    store: DocumentStore,
    folder: Path,
    encoder: TextEncoder,
    *,
    corpora: tuple[str, ...],
    held_out: float,
    shard_tokens: int,
    progress: StageProgress,
) -> dict[str, Any]:
    """Write the shards of every corpus; whole shards of an interrupted run are kept.

    Returns:
        Documents, tokens and bytes of each corpus and split.

    Raises:
        CorpusError: nothing is left of a corpus to train on.
    """
    numbers: dict[str, list[int]] = {name: [] for name in corpora}
    for number, document in enumerate(store):
        numbers[document.corpus].append(number)
    report: dict[str, Any] = {}
    done = 0
    for name, found in numbers.items():
        aside = _held_out(store, found, held_out)
        splits = {TRAIN: [number for number in found if number not in aside], HELD_OUT: sorted(aside)}
        if not splits[TRAIN]:
            raise CorpusError(
                f"nothing is left of source {name!r} to train on ({len(found)} documents after all stages): loosen "
                "cleaning or selection (the report says which rule removed what), or give it more text"
            )

        report[name] = {}
        for split, chosen in splits.items():
            if chosen:
                index = _write(store, chosen, folder / name / split, encoder, shard_tokens)
                report[name][split] = {
                    "documents": index.documents,
                    "tokens": index.tokens,
                    "text_bytes": index.text_bytes,
                    "bytes_per_token": round(index.text_bytes / index.tokens, 4),
                }
            done += len(chosen)
            progress(done, len(store))
    return report


def _held_out(store: DocumentStore, numbers: list[int], share: float) -> set[int]:
    """The documents with the smallest digests: at least one, but never the only one."""
    if not share or len(numbers) < 2:
        return set()

    count = min(len(numbers) - 1, math.ceil(share * len(numbers)))
    return {number for _, number in sorted((_digest(store[number].text), number) for number in numbers)[:count]}


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _write(
    store: DocumentStore, numbers: list[int], folder: Path, encoder: TextEncoder, shard_tokens: int
) -> ShardIndex:
    if (folder / INDEX_NAME).exists() and (found := ShardIndex.read(folder)).complete:
        return found

    writer = ShardWriter(
        folder,
        vocab_size=encoder.vocab_size,
        eos_token_id=encoder.eos_token_id,
        tokenizer=encoder_digest(encoder),
        shard_tokens=shard_tokens,
    )
    with writer:
        for ids, size in _encoded(store, numbers[writer.documents :], encoder):
            writer.add(ids, text_bytes=size)
        return writer.finish()


def _encoded(store: DocumentStore, numbers: list[int], encoder: TextEncoder) -> Iterator[tuple[list[int], int]]:
    for number in numbers:
        text = store[number].text
        yield encoder.encode(text), len(text.encode("utf-8", "replace"))
