"""Conversations in rows: nothing lost, nothing seen twice in an epoch, and exactly resumable."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moesaic.errors import CorpusError, DamagedRunError, InputError, RecipeError
from moesaic.training.batch import IGNORED, Batch, BatchSource
from moesaic.training.tuning.conversation import Conversation, Message, Role
from moesaic.training.tuning.conversation_source import ConversationSource
from moesaic.training.tuning.encoded_example import EncodedExample, ExampleEncoder
from moesaic.training.tuning.row_packing import OPEN_ROWS, pack_rows
from tests.training.tuning.chat_tokenizers import CHATML, byte_tokenizer

PAD = 999


def examples(count: int, longest: int = 12, seed: int = 0) -> list[EncodedExample]:
    """Sequences that begin with their own number, the second half of each learnt."""
    random = np.random.default_rng(seed)
    sizes = random.integers(2, longest + 1, count)
    return [
        EncodedExample(
            token_ids=np.asarray([number, *range(1, size)], dtype=np.int32),
            is_learnt=np.arange(size) >= max(1, size // 2),
        )
        for number, size in enumerate(sizes)
    ]


def source(rows: int = 2, rank: int = 0, world_size: int = 1, seed: int = 3, count: int = 40) -> ConversationSource:
    return ConversationSource(
        examples(count), rows=rows, sequence_length=16, seed=seed, pad_id=PAD, rank=rank, world_size=world_size
    )


def same(first: Batch, second: Batch) -> bool:
    pairs = zip(vars(first).values(), vars(second).values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def numbers(batch: Batch) -> list[int]:
    """Which examples a batch has."""
    return [
        int(ids_S[documents_S == document][0])
        for ids_S, documents_S in zip(batch.input_ids_BS, batch.documents_BS, strict=True)
        for document in range(int(documents_S.max()) + 1)
    ]


@given(sizes=st.lists(st.integers(1, 10), max_size=80), open_rows=st.integers(1, 5))
def test_packing_loses_nothing_and_overfills_nothing(sizes: list[int], open_rows: int) -> None:
    rows = pack_rows(sizes, 10, open_rows=open_rows)
    assert sorted(index for row in rows for index in row) == list(range(len(sizes)))
    assert all(sum(sizes[index] for index in row) <= 10 for row in rows)


def test_packing_leaves_little_room() -> None:
    sizes = np.random.default_rng(1).integers(20, 400, 2000).tolist()
    rows = pack_rows(sizes, 1024)
    assert sum(sizes) / (1024 * len(rows)) > 0.95
    assert len(rows) < len(pack_rows(sizes, 1024, open_rows=1))
    assert OPEN_ROWS > 1


def test_what_fits_no_row_is_refused() -> None:
    with pytest.raises(InputError, match="sequence 1 has 11 tokens; a row holds 1 to 10"):
        pack_rows([3, 11], 10)


def test_an_epoch_has_every_example_once_and_epochs_differ() -> None:
    stream = source(rows=1)
    epochs: list[list[int]] = []
    for epoch in range(3):
        stream.restore(stream.state() | {"epoch": epoch, "row": 0})
        epochs.append([number for _ in range(stream.rows_of_epoch) for number in numbers(stream.next())])
        assert stream.epoch == epoch
        stream.next()
        assert stream.epoch == epoch + 1
    assert all(sorted(seen) == list(range(40)) for seen in epochs)
    assert len({tuple(seen) for seen in epochs}) == 3


def test_rows_say_what_is_learnt_and_which_tokens_belong_together() -> None:
    stream = source(rows=3)
    given_ = examples(40)
    for _ in range(12):
        batch = stream.next()
        for ids_S, labels_S, documents_S in zip(batch.input_ids_BS, batch.labels_BS, batch.documents_BS, strict=True):
            padding = documents_S < 0
            assert (ids_S[padding] == PAD).all()
            assert (labels_S[padding] == IGNORED).all()
            for document in range(int(documents_S.max()) + 1):
                place = documents_S == document
                example = given_[int(ids_S[place][0])]
                learnt = torch.from_numpy(example.is_learnt)
                assert ids_S[place].tolist() == example.token_ids.tolist()
                assert torch.equal(labels_S[place][learnt], ids_S[place][learnt])
                assert (labels_S[place][~learnt] == IGNORED).all()
    assert batch.input_ids_BS.dtype == batch.labels_BS.dtype == batch.documents_BS.dtype == torch.int64


@given(taken=st.integers(0, 60))
def test_a_restored_stream_goes_on_as_if_nothing_had_happened(taken: int) -> None:
    whole = source()
    for _ in range(taken):
        whole.next()
    again = source()
    again.restore(json.loads(json.dumps(whole.state())))
    assert all(same(whole.next(), again.next()) for _ in range(30))


def test_processes_share_the_stream_that_one_would_see() -> None:
    alone = source(rows=6)
    shares = [source(rows=6, rank=rank, world_size=3) for rank in range(3)]
    for _ in range(25):
        whole = alone.next()
        parts = [share.next() for share in shares]
        for rank, part in enumerate(parts):
            assert torch.equal(whole.input_ids_BS[rank::3], part.input_ids_BS)
            assert torch.equal(whole.labels_BS[rank::3], part.labels_BS)
    assert alone.state() == shares[0].state() == shares[2].state()
    other = source(rows=6)
    other.restore(shares[1].state())
    assert same(alone.next(), other.next())


def test_seeds_differ() -> None:
    assert not same(source(seed=1).next(), source(seed=2).next())


def test_another_stream_s_position_is_refused() -> None:
    position = source().state()
    for other in (source(seed=4), source(count=39)):
        with pytest.raises(DamagedRunError, match="other conversations, length or seed"):
            other.restore(position)
    for broken in ({}, position | {"row": -1}, position | {"row": "0"}, position | {"shard": 1}):
        with pytest.raises(DamagedRunError, match="no position of conversations"):
            source().restore(broken)
    with pytest.raises(DamagedRunError, match="row 5000 lies beyond"):
        source().restore(position | {"row": 5000})


def test_long_examples_are_counted_and_never_cut() -> None:
    long = EncodedExample(token_ids=np.arange(17, dtype=np.int32), is_learnt=np.arange(17) > 0)
    stream = ConversationSource([*examples(3), long], rows=1, sequence_length=16, seed=0)
    assert (stream.too_long, len(stream.examples)) == (1, 3)
    with pytest.raises(CorpusError, match=r"none of 1 examples fits into 16 tokens \(the longest has 17\)"):
        ConversationSource([long], rows=1, sequence_length=16, seed=0)
    with pytest.raises(CorpusError, match="none of 0"):
        ConversationSource([], rows=1, sequence_length=16, seed=0)


@pytest.mark.parametrize("options", [{"rows": 0}, {"rank": 1}, {"world_size": 0}, {"rank": -1}, {"world_size": 3}])
def test_impossible_shares_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(RecipeError, match="must be at least 2, rows="):
        source(**options)


def test_from_conversations_to_batches() -> None:
    encoder = ExampleEncoder(byte_tokenizer(CHATML))
    said = Conversation(
        messages=(Message(role=Role.USER, content="你好"), Message(role=Role.ASSISTANT, content="早上好"))
    )
    stream: BatchSource = ConversationSource.of([said], encoder, rows=1, sequence_length=64, seed=0)
    batch = stream.next()
    learnt = batch.labels_BS[0][batch.labels_BS[0] != IGNORED]
    assert encoder.tokenizer.decode(learnt.tolist()) == "早上好<|im_end|>"
    assert int(batch.input_ids_BS[0, -1]) == encoder.pad_id
    assert isinstance(stream, ConversationSource)
    assert stream.learnt_tokens == len(learnt)
