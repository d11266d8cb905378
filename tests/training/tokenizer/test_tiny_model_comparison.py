"""Tiny models see equal bytes, learn from them, and are measured per byte."""

from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moesaic.errors import CorpusError, RecipeError, TokenizerError
from moesaic.training.tokenizer.sentencepiece_conversion import convert_pieces
from moesaic.training.tokenizer.sentencepiece_training import learn_pieces
from moesaic.training.tokenizer.tiny_model_comparison import (
    TinyComparisonConfig,
    _Windows,
    byte_windows,
    compare_tiny_models,
)
from moesaic.training.tokenizer.tokenizer_config import TokenizerConfig
from tests.training.tokenizer.corpus import TEXTS, tiny_byte_level

CONFIG = TinyComparisonConfig(steps=30, bytes_per_step=2048, sequence_length=64, held_out_bytes=3000)


@given(st.lists(st.text("aé中👩", max_size=30), min_size=1).filter(any), st.integers(0, 9))
def test_windows_hold_equal_bytes_and_every_text_whole(texts, seed):
    windows = list(islice(byte_windows(texts, 64, seed), 8))
    assert all(61 <= sum(len(piece.encode()) for piece in window) <= 64 for window in windows)
    whole = "".join(piece for window in windows for piece in window)
    first = sum(map(len, texts))
    if len(whole) >= first:
        assert sorted(whole[:first]) == sorted("".join(texts))


def test_rows_are_the_windows_tokens_with_an_end_before_each_text():
    source = _Windows(tiny_byte_level(), TEXTS, CONFIG)
    window = next(byte_windows(TEXTS, 2048, 0))
    batch = source.next()
    kept = batch.documents_BS >= 0
    expected = [token for text in window for token in (340, *tiny_byte_level().encode(text))]
    assert batch.input_ids_BS[kept].tolist() == expected
    assert batch.documents_BS[kept].max() == len(window) - 1
    assert (~kept).sum() < 64
    state = source.state()
    following = source.next()
    source.restore(state)
    assert torch.equal(source.next().input_ids_BS, following.input_ids_BS)


def test_models_learn_from_equal_bytes_and_a_fitting_tokenizer_is_ahead():
    both = convert_pieces(learn_pieces(TEXTS, TokenizerConfig(vocab_size=420)))
    tokenizers = {"bytes": tiny_byte_level(), "both": both}
    held_out = {"mixed": TEXTS[350:]}
    found = compare_tiny_models(tokenizers, TEXTS[:350], held_out, CONFIG)
    untrained = compare_tiny_models(
        tokenizers, TEXTS[:350], held_out, TinyComparisonConfig(steps=1, bytes_per_step=64, sequence_length=64)
    )
    for name in tokenizers:
        assert found[name].bits_per_byte["mixed"] < 0.75 * untrained[name].bits_per_byte["mixed"]
    assert found["both"].tokens < found["bytes"].tokens
    assert found["both"].parameters > found["bytes"].parameters
    assert found["both"].bits_per_byte["mixed"] < found["bytes"].bits_per_byte["mixed"]


def test_equal_seeds_give_equal_figures():
    config = TinyComparisonConfig(steps=2, bytes_per_step=512, sequence_length=64)
    first, second = (
        compare_tiny_models({"a": tiny_byte_level()}, TEXTS, {"x": TEXTS[:5]}, config)["a"] for _ in range(2)
    )
    assert first.bits_per_byte == second.bits_per_byte


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(CorpusError, match="no text to train"):
        next(byte_windows(["", ""], 64, 0))
    endless = tiny_byte_level()
    endless.eos_token = None
    with pytest.raises(TokenizerError, match="no end-of-text token"):
        compare_tiny_models({"endless": endless}, TEXTS, {}, CONFIG)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "steps=0"),
        ({"bytes_per_step": 8}, "bytes_per_step=8"),
        ({"preset": "tiny"}, "preset='tiny'.*dense"),
    ],
)
def test_settings_out_of_range_are_refused(values, message):
    with pytest.raises(RecipeError, match=message):
        TinyComparisonConfig(**values)
