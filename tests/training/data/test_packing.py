"""Every token of a pass lies in exactly one row, and tokens never see another document."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.errors import RecipeError
from moesaic.training.batch import IGNORED
from moesaic.training.data.held_out import held_out_batches
from moesaic.training.data.packing import PACKINGS, PackedRows, Packing, packed_rows
from moesaic.training.data.row_batch import row_batch
from tests.training.data.shard_builder import EOS, numbered_documents, write_shards

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=60)


def rows_of(lengths: list[int], length: int, packing: Packing, seed: int | None = 0) -> PackedRows:
    generator = None if seed is None else np.random.default_rng(seed)
    return packed_rows(np.asarray(lengths), length, packing=packing, generator=generator)


@given(lengths=LENGTHS, length=st.integers(2, 30), packing=st.sampled_from(PACKINGS))
def test_every_token_lies_in_exactly_one_row(lengths: list[int], length: int, packing: Packing) -> None:
    plan = rows_of(lengths, length, packing)
    rows = [plan[row] for row in range(len(plan))]
    found = sorted((document, token) for row in rows for document, start, stop in row for token in range(start, stop))
    assert found == [(document, token) for document, size in enumerate(lengths) for token in range(size)]
    assert all(0 < sum(stop - start for _, start, stop in row) <= length for row in rows)


@given(lengths=LENGTHS, length=st.integers(2, 30))
def test_stream_pads_the_last_row_only(lengths: list[int], length: int) -> None:
    plan = rows_of(lengths, length, "stream")
    filled = [sum(stop - start for _, start, stop in plan[row]) for row in range(len(plan))]
    assert filled[:-1] == [length] * (len(plan) - 1)
    assert len(plan) == -(-sum(lengths) // length)


@given(lengths=LENGTHS, length=st.integers(2, 30))
def test_best_fit_cuts_long_documents_only(lengths: list[int], length: int) -> None:
    plan = rows_of(lengths, length, "best_fit")
    pieces = [piece for row in range(len(plan)) for piece in plan[row]]
    for document, size in enumerate(lengths):
        assert sum(piece[0] == document for piece in pieces) == -(-size // length)


def test_best_fit_wastes_little() -> None:
    lengths = np.random.default_rng(0).integers(1, 200, 3000).tolist()
    assert len(rows_of(lengths, 256, "best_fit")) <= 1.01 * sum(lengths) / 256


def test_in_order_without_a_generator() -> None:
    plan = rows_of([3, 4, 2], 5, "stream", seed=None)
    assert [plan[row] for row in range(len(plan))] == [[(0, 0, 3), (1, 0, 2)], [(1, 2, 4), (2, 0, 2)]]


def test_seeds_shuffle_and_repeat() -> None:
    lengths = list(range(1, 50))
    first, again, other = (rows_of(lengths, 16, "stream", seed).documents.tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize(("packing", "length", "fault"), [("loose", 8, "packing='loose'"), ("stream", 1, "=1 must be")])
def test_what_cannot_be_packed_is_refused(packing: Packing, length: int, fault: str) -> None:
    with pytest.raises(RecipeError, match=fault):
        rows_of([3], length, packing)
    with pytest.raises(RecipeError, match="best_fit' shuffles"):
        rows_of([3], 8, "best_fit", seed=None)


def test_a_batch_separates_documents_and_marks_padding(tmp_path: Path) -> None:
    reader = write_shards(tmp_path, numbered_documents([3, 5]))
    batch = row_batch([(reader, [(0, 0, 4), (1, 0, 3)]), (reader, [(1, 3, 6)])], 8)
    pad = IGNORED
    assert batch.input_ids_BS.tolist() == [[1, 2, 3, EOS, 4, 5, 6, EOS], [7, 8, EOS, EOS, EOS, EOS, EOS, EOS]]
    assert batch.labels_BS.tolist() == [[pad, 2, 3, EOS, pad, 5, 6, pad], [pad, 8, EOS, pad, pad, pad, pad, pad]]
    assert batch.documents_BS.tolist() == [[0, 0, 0, 0, 1, 1, 1, -1], [0, 0, 0, -1, -1, -1, -1, -1]]


def test_held_out_batches_hold_every_token_once_in_order(tmp_path: Path) -> None:
    documents = numbered_documents([7, 12, 3, 30])
    reader = write_shards(tmp_path, documents)
    batches = list(held_out_batches(reader, sequence_length=8, rows=3))
    assert [len(batch.input_ids_BS) for batch in batches] == [3, 3, 1]
    tokens = [
        token
        for batch in batches
        for ids, owners in zip(batch.input_ids_BS.tolist(), batch.documents_BS.tolist(), strict=True)
        for token, owner in zip(ids, owners, strict=True)
        if owner >= 0
    ]
    assert tokens == [token for ids in documents for token in [*ids, EOS]]
    for batch in batches:
        for labels, owners in zip(batch.labels_BS.tolist(), batch.documents_BS.tolist(), strict=True):
            begins = [place + 1 for place, (left, right) in enumerate(pairwise(owners)) if left != right]
            assert all(labels[place] == IGNORED for place in [0, *begins])
    with pytest.raises(RecipeError, match="rows=0"):
        next(held_out_batches(reader, sequence_length=8, rows=0))
