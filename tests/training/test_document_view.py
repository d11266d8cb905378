"""Tokens of a packed row see their own document only, in every attention implementation, and predict no other."""

import pytest
import torch
import torch.nn.functional as F

from moesaic.errors import CorpusError
from moesaic.training.batch import IGNORED, Batch
from moesaic.training.document_view import document_view, micro_batches
from moesaic.training.token_loss import summed_loss
from tests.training.tiny_run import random_batch, tiny_model


def test_positions_restart_and_targets_stay_inside() -> None:
    batch = Batch(
        input_ids_BS=torch.tensor([[5, 6, 7, 8, 9, 1]]),
        labels_BS=torch.tensor([[5, 6, 7, 8, 9, 1]]),
        documents_BS=torch.tensor([[0, 0, 0, 1, 1, -1]]),
    )
    view = document_view(batch)
    assert view.positions_BS.tolist() == [[0, 1, 2, 0, 1, 0]]
    assert view.targets_BS.tolist() == [[6, 7, IGNORED, 9, IGNORED, IGNORED]]


def test_ignored_labels_are_no_targets() -> None:
    batch = Batch(
        input_ids_BS=torch.tensor([[5, 6, 7]]),
        labels_BS=torch.tensor([[IGNORED, IGNORED, 7]]),
        documents_BS=torch.zeros((1, 3), dtype=torch.int64),
    )
    assert document_view(batch).targets_BS.tolist() == [[IGNORED, 7, IGNORED]]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("padding", [0, 5])
def test_packed_documents_compute_what_they_compute_alone(attention: str, padding: int) -> None:
    model = tiny_model().eval()
    model.set_attn_implementation(attention)
    batch = random_batch(3, 40, documents=4, padding=padding)
    view = document_view(batch)
    total = torch.zeros(())
    with torch.no_grad():
        packed = model(input_ids=batch.input_ids_BS, position_ids=view.positions_BS, use_cache=False).logits
        for row in range(3):
            for document in batch.documents_BS[row].unique().tolist():
                if document < 0:
                    continue
                here = batch.documents_BS[row] == document
                ids_S = batch.input_ids_BS[row][here]
                alone = model(input_ids=ids_S[None], use_cache=False).logits[0]
                torch.testing.assert_close(packed[row][here], alone, atol=2e-5, rtol=1e-4)
                total += F.cross_entropy(alone[:-1], ids_S[1:], reduction="sum")
    torch.testing.assert_close(summed_loss(packed, view.targets_BS), total, atol=1e-3, rtol=1e-5)


def test_without_restarting_positions_the_documents_would_mix() -> None:
    model = tiny_model().eval()
    batch = random_batch(1, 40, documents=4)
    with torch.no_grad():
        mixed = model(input_ids=batch.input_ids_BS, use_cache=False).logits
        view = document_view(batch)
        packed = model(input_ids=batch.input_ids_BS, position_ids=view.positions_BS, use_cache=False).logits
    assert (mixed - packed).abs().max() > 0.01


def test_micro_batches_are_the_rows_in_order() -> None:
    batch = random_batch(5, 8)
    parts = micro_batches(batch, 2, 320)
    assert [len(part.input_ids_BS) for part in parts] == [2, 2, 1]
    assert torch.equal(torch.cat([part.input_ids_BS for part in parts]), batch.input_ids_BS)
    assert torch.equal(torch.cat([part.documents_BS for part in parts]), batch.documents_BS)


@pytest.mark.parametrize("vocabulary", [100, 319])
def test_foreign_tokens_are_refused(vocabulary: int) -> None:
    batch = random_batch(4, 200, seed=1)
    top = int(batch.input_ids_BS.max())
    assert top == 319
    with pytest.raises(CorpusError, match=f"token 319, the model's vocabulary is 0 to {vocabulary - 1}"):
        micro_batches(batch, 2, vocabulary)
    negative = Batch(input_ids_BS=-batch.input_ids_BS, labels_BS=batch.labels_BS, documents_BS=batch.documents_BS)
    with pytest.raises(CorpusError, match="token -319"):
        micro_batches(negative, 2, 320)


def test_shapes_that_differ_are_refused() -> None:
    batch = random_batch(2, 8)
    with pytest.raises(CorpusError, match="shapes"):
        micro_batches(
            Batch(input_ids_BS=batch.input_ids_BS, labels_BS=batch.labels_BS[:, 1:], documents_BS=batch.documents_BS),
            2,
            320,
        )
