"""Bits per byte: every token once, the bytes that it stands for, and the same figure whatever the windows' order."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from moesaic.errors import CorpusError, DivergedError, RecipeError
from moesaic.model.causal_lm import GPTMoEForCausalLM
from moesaic.model.config import GPTMoEConfig
from moesaic.training.adaptation.bits_per_byte import BitsOptions, TextBits, file_bits, text_bits, windows
from tests.training.tuning.chat_tokenizers import byte_tokenizer

TEXT = "The cat sat on the mat. 猫坐在垫子上。" * 3


class Uniform(nn.Module):
    """Gives every token the same probability."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, input_ids: torch.Tensor) -> SimpleNamespace:
        assert not self.training
        return SimpleNamespace(logits=self.weight.expand(*input_ids.shape, self.size))


@pytest.fixture(scope="module")
def model() -> GPTMoEForCausalLM:
    torch.manual_seed(1)
    config = GPTMoEConfig(
        vocab_size=320,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        num_experts_per_layer=[0, 4],
        initializer_range=0.3,
    )
    return GPTMoEForCausalLM(config)


@given(tokens=st.integers(2, 60), length=st.integers(2, 20), data=st.data())
def test_windows_score_every_token_but_the_first_once(tokens: int, length: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, length - 1))
    cut = windows(tokens, length=length, stride=stride)
    assert [token for window in cut for token in range(window.scored, window.end)] == list(range(1, tokens))
    assert all(window.end - window.start <= length for window in cut)
    assert all(window.scored - window.start >= min(length - stride, window.scored) for window in cut)


@pytest.mark.parametrize("merges", [[], [("a", "t"), ("Ġ", "c"), ("Ġc", "at")]])
def test_a_model_that_knows_nothing_needs_log2_of_the_vocabulary_for_a_token(merges: list[tuple[str, str]]) -> None:
    tokenizer = byte_tokenizer(None, merges)
    found = text_bits(Uniform(512), tokenizer, TEXT, BitsOptions(length=16, stride=8))
    tokens = len(tokenizer.encode(TEXT))
    assert found.tokens == tokens - 1
    assert found.text_bytes == len(TEXT.encode()) - 1  # but for the first token, a T
    assert found.bits_per_byte == pytest.approx(9 * (tokens - 1) / found.text_bytes)
    assert found.perplexity == pytest.approx(512)


def test_one_window_is_the_plain_loss(model: GPTMoEForCausalLM) -> None:
    tokenizer = byte_tokenizer(None)
    ids = torch.tensor([tokenizer.encode(TEXT)])
    assert ids.shape[1] < 256
    with torch.no_grad():
        loss = float(model.eval()(input_ids=ids, labels=ids).loss)
    found = text_bits(model, tokenizer, TEXT, BitsOptions(length=256, stride=128))
    assert found.nats / found.tokens == pytest.approx(loss, rel=1e-5)


def test_batches_do_not_matter_and_windows_hardly(model: GPTMoEForCausalLM) -> None:
    tokenizer = byte_tokenizer(None)
    long = TEXT * 5
    one = text_bits(model, tokenizer, long, BitsOptions(length=64, stride=32, batch=1))
    many = text_bits(model, tokenizer, long, BitsOptions(length=64, stride=32, batch=7))
    assert one.nats == pytest.approx(many.nats, rel=1e-5)
    assert (one.tokens, one.text_bytes) == (many.tokens, many.text_bytes)
    apart = text_bits(model, tokenizer, long, BitsOptions(length=64, stride=63, batch=7))
    assert apart.nats != pytest.approx(one.nats, rel=1e-5)


def test_a_part_of_a_text_counts_its_own_bytes() -> None:
    tokenizer = byte_tokenizer(None)
    found = text_bits(Uniform(512), tokenizer, TEXT, BitsOptions(length=16, stride=8, max_tokens=11))
    assert (found.tokens, found.text_bytes) == (10, 10)


def test_sums_are_over_both_texts() -> None:
    one, other = TextBits(nats=2.0, tokens=3, text_bytes=4), TextBits(nats=6.0, tokens=1, text_bytes=12)
    assert (one + other).bits_per_byte == pytest.approx(8 / math.log(2) / 16)


def test_the_model_goes_on_as_it_was(model: GPTMoEForCausalLM) -> None:
    model.train()
    text_bits(model, byte_tokenizer(None), "abc", BitsOptions(length=16, stride=8))
    assert model.training
    model.eval()


def test_files(tmp_path: Path) -> None:
    tokenizer, options = byte_tokenizer(None), BitsOptions(length=16, stride=8)
    path = tmp_path / "text"
    path.write_text(TEXT, encoding="utf-8")
    assert file_bits(Uniform(512), tokenizer, path, options) == text_bits(Uniform(512), tokenizer, TEXT, options)
    path.write_bytes(b"abc\xff")
    with pytest.raises(CorpusError, match="not UTF-8 at byte 3"):
        file_bits(Uniform(512), tokenizer, path, options)
    with pytest.raises(CorpusError, match="can't be read"):
        file_bits(Uniform(512), tokenizer, tmp_path / "other", options)


def test_what_cannot_be_measured_is_refused(model: GPTMoEForCausalLM) -> None:
    tokenizer = byte_tokenizer(None)
    with pytest.raises(CorpusError, match="a text of 1 tokens"):
        text_bits(model, tokenizer, "a", BitsOptions(length=16, stride=8))
    with pytest.raises(RecipeError, match="beyond the model's context of 256"):
        text_bits(model, tokenizer, TEXT, BitsOptions(length=512, stride=8))
    broken = Uniform(512)
    broken.weight.data.fill_(torch.nan)
    with pytest.raises(DivergedError, match="not finite"):
        text_bits(broken, tokenizer, TEXT, BitsOptions(length=16, stride=8))


@pytest.mark.parametrize("options", [{"stride": 0}, {"stride": 1024}, {"length": 5}, {"batch": 0}, {"max_tokens": 1}])
def test_impossible_windows_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(RecipeError, match=next(iter(options))):
        BitsOptions(**options)
