"""What a model needs so that tokens of packed rows see their own document only: positions and shifted targets.

Shapes: B rows, S positions.
"""

from typing import NamedTuple

import torch

from moesaic.errors import CorpusError
from moesaic.training.batch import IGNORED, Batch

__all__ = ["DocumentView", "document_view", "micro_batches"]


class DocumentView(NamedTuple):
    """A batch as the forward pass and the loss take it."""

    positions_BS: torch.Tensor
    """Position of each token in its document, from 0. Restarting positions are what transformers recognises packed
    documents by, in every attention implementation, if no attention mask and no cache are given."""
    targets_BS: torch.Tensor
    """The token that each position has to predict, `IGNORED` where there is none in the same document."""


def document_view(batch: Batch) -> DocumentView:
    """Positions that restart with every document, and targets that do not cross one; padding is a document of its own.

    A row of one document without padding has the positions 0 … S-1, for which attention needs no mask at all.
    """
    documents_BS = batch.documents_BS
    rows, length = documents_BS.shape
    begins_BS = torch.ones_like(documents_BS, dtype=torch.bool)
    begins_BS[:, 1:] = documents_BS[:, 1:] != documents_BS[:, :-1]
    index_BS = torch.arange(length, device=documents_BS.device).expand(rows, length)
    first_BS = torch.where(begins_BS, index_BS, 0).cummax(dim=1).values

    targets_BS = torch.full_like(batch.labels_BS, IGNORED)
    same_BS = ~begins_BS[:, 1:] & (documents_BS[:, 1:] >= 0)
    targets_BS[:, :-1] = torch.where(same_BS, batch.labels_BS[:, 1:], IGNORED)
    return DocumentView(positions_BS=index_BS - first_BS, targets_BS=targets_BS)


def micro_batches(batch: Batch, rows: int, vocab_size: int) -> list[Batch]:
    """A batch cut into pieces of at most `rows` rows.

    Raises:
        CorpusError: the tensors differ in shape, or a token is outside of the vocabulary.
    """
    shapes = {tuple(tensor.shape) for tensor in (batch.input_ids_BS, batch.labels_BS, batch.documents_BS)}
    if len(shapes) != 1 or batch.input_ids_BS.dim() != 2:
        raise CorpusError(f"ids, labels and documents of a batch have the shapes {sorted(shapes)}: one [B, S] is due")
    low, high = batch.input_ids_BS.aminmax()
    top = max(int(high), int(batch.labels_BS.max()))
    if int(low) < 0 or top >= vocab_size:
        raise CorpusError(
            f"the data has token {int(low) if int(low) < 0 else top}, the model's vocabulary is 0 to {vocab_size - 1}: "
            "tokenize the data with the model's own tokenizer"
        )
    return [
        Batch(
            input_ids_BS=batch.input_ids_BS[start : start + rows],
            labels_BS=batch.labels_BS[start : start + rows],
            documents_BS=batch.documents_BS[start : start + rows],
        )
        for start in range(0, batch.input_ids_BS.shape[0], rows)
    ]
