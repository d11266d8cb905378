"""Every token of a corpus once, in order: what held-out loss is measured on."""

from collections.abc import Iterator

from moesaic.errors import RecipeError
from moesaic.training.batch import Batch
from moesaic.training.data.packing import packed_rows
from moesaic.training.data.row_batch import row_batch
from moesaic.training.data.shard_reader import ShardReader

__all__ = ["held_out_batches"]


def held_out_batches(reader: ShardReader, *, sequence_length: int, rows: int) -> Iterator[Batch]:
    """One pass over the shards, unshuffled, in batches of `rows` rows (the last may have fewer) [B, S].

    `reader.index.text_bytes` is what a summed loss is divided by for bits per byte.

    Raises:
        RecipeError: a number is out of its range.
    """
    if rows < 1:
        raise RecipeError(f"rows={rows!r} must be at least 1")

    plan = packed_rows(reader.lengths_N, sequence_length, packing="stream", generator=None)
    for begin in range(0, len(plan), rows):
        chosen = range(begin, min(begin + rows, len(plan)))
        yield row_batch([(reader, plan[row]) for row in chosen], sequence_length)
