"""Rows of pieces into the tensors of a batch.

Labels are the ids themselves, except for the first token of every piece: tokens see their own document only, so that
nothing is there to predict it from. (The token before it in the row belongs to another document; for the rest of a
document that was cut, the tokens before it lie in another row.)

Legend: B rows, S positions.
"""

from collections.abc import Sequence

import numpy as np
import torch

from moesaic.training.batch import IGNORED, Batch
from moesaic.training.data.packing import Piece
from moesaic.training.data.shard_reader import ShardReader

__all__ = ["row_batch"]

_PADDING = -1


def row_batch(rows: Sequence[tuple[ShardReader, list[Piece]]], sequence_length: int) -> Batch:
    """The batch of some rows, each with the shards that its pieces come from; padded with end-of-text tokens."""
    shape = (len(rows), sequence_length)
    ids_BS = np.zeros(shape, dtype=np.int64)
    labels_BS = np.full(shape, IGNORED, dtype=np.int64)
    documents_BS = np.full(shape, _PADDING, dtype=np.int64)
    for row, (reader, pieces) in enumerate(rows):
        ids_BS[row] = reader.index.eos_token_id
        place = 0
        for number, (document, start, stop) in enumerate(pieces):
            here = slice(place, place + stop - start)
            ids_BS[row, here] = reader.piece(document, start, stop)
            labels_BS[row, here] = ids_BS[row, here]
            labels_BS[row, place] = IGNORED
            documents_BS[row, here] = number
            place += stop - start
    return Batch(
        input_ids_BS=torch.from_numpy(ids_BS),
        labels_BS=torch.from_numpy(labels_BS),
        documents_BS=torch.from_numpy(documents_BS),
    )
