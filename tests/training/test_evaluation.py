"""Bits per byte are those of every token of the text, predicted once, whatever the rows and forward passes."""

import math
from pathlib import Path

import pytest
import torch

from moesaic.errors import CorpusError, RecipeError
from moesaic.training.data.shard_reader import ShardReader
from moesaic.training.data.shard_writer import ShardWriter
from moesaic.training.evaluation import EvaluationConfig, HeldOut, held_out_sets
from moesaic.training.model_runner import ModelRunner
from moesaic.training.processes import Processes
from moesaic.training.run_options import DistributedConfig, PrecisionConfig
from moesaic.training.token_bytes import token_bytes
from tests.training.tiny_run import tiny_model, tokenizer_of

TEXTS = ["The bridge carries its own weight.", "合同双方应当全面履行。", "x"]


def runner() -> ModelRunner:
    return ModelRunner(tiny_model(), Processes(), PrecisionConfig(), DistributedConfig())


def expected_nats(texts: list[str], tokenizer: object, length: int) -> float:
    """Every token given the end token and the part of its text that lies in its row."""
    model = tiny_model().eval()
    total = 0.0
    for text in texts:
        ids = [256, *tokenizer(text)["input_ids"]]  # type: ignore[operator]
        for place in range(1, len(ids)):
            start = (place - 1) // (length - 1) * (length - 1)
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([ids[start:place]])).logits[0, -1]
            total -= float(torch.log_softmax(logits, dim=-1)[ids[place]])
    return total


@pytest.mark.parametrize(("length", "rows"), [(16, 1), (16, 3), (64, 8)])
def test_bits_per_byte_of_texts(tmp_path: Path, length: int, rows: int) -> None:
    tokenizer = tokenizer_of(tmp_path)
    held_out = HeldOut.of(TEXTS, tokenizer, length=length, max_bytes=10_000)
    found = held_out.loss(runner(), rows)
    text_bytes = sum(len(text.encode()) for text in TEXTS)
    assert (found.text_bytes, found.tokens) == (text_bytes, text_bytes)  # a token per byte
    nats = expected_nats(TEXTS, tokenizer, length)
    assert found.bits_per_byte == pytest.approx(nats / math.log(2) / text_bytes, rel=1e-5)
    assert found.loss == pytest.approx(nats / text_bytes, rel=1e-5)


def test_the_model_goes_on_in_the_mode_that_it_was_in(tmp_path: Path) -> None:
    tokenizer = tokenizer_of(tmp_path)
    chosen = runner()
    chosen.model.train()
    HeldOut.of(TEXTS, tokenizer, length=16, max_bytes=100).loss(chosen, 2)
    assert chosen.model.training


def test_no_more_than_the_bytes_that_are_allowed(tmp_path: Path) -> None:
    tokenizer = tokenizer_of(tmp_path)
    found = HeldOut.of(["ab合cd", "more"], tokenizer, length=16, max_bytes=4).loss(runner(), 2)
    assert found.text_bytes == 2  # the third to fifth byte are one character


def test_shards_measure_what_their_texts_measure(tmp_path: Path) -> None:
    tokenizer = tokenizer_of(tmp_path / "tokenizer")
    with ShardWriter(tmp_path / "shards", vocab_size=257, eos_token_id=256, tokenizer="bytes") as writer:
        for text in TEXTS:
            writer.add(tokenizer(text)["input_ids"], text_bytes=len(text.encode()))
        writer.finish()
    from_shards = HeldOut.of_shards(ShardReader(tmp_path / "shards"), 16).loss(runner(), 2)
    from_texts = HeldOut.of(TEXTS, tokenizer, length=16, max_bytes=10_000).loss(runner(), 2)
    assert from_shards.bits_per_byte == pytest.approx(from_texts.bits_per_byte, rel=1e-6)
    assert from_shards.tokens == from_texts.tokens


def test_sets_are_read_by_name_and_refused_when_they_are_not_there(tmp_path: Path) -> None:
    tokenizer = tokenizer_of(tmp_path / "tokenizer")
    (tmp_path / "one.txt").write_text("some text", encoding="utf-8")
    config = EvaluationConfig(sets={"one": str(tmp_path / "one.txt")})
    assert held_out_sets(config, tokenizer, 16)["one"].text_bytes == 9
    with pytest.raises(CorpusError, match="there is no file or folder"):
        held_out_sets(EvaluationConfig(sets={"two": str(tmp_path / "two.txt")}), tokenizer, 16)
    with pytest.raises(RecipeError):
        EvaluationConfig(rows=0)


def test_bytes_of_tokens(tmp_path: Path) -> None:
    tokenizer = tokenizer_of(tmp_path)
    bytes_V = token_bytes(tokenizer, 320)
    assert bytes_V is not None
    assert bytes_V.shape == (320,)
    ids = tokenizer("合同 x")["input_ids"]
    assert float(bytes_V[ids].sum()) == len("合同 x".encode())
    assert float(bytes_V[256]) == 0.0
    assert float(bytes_V[257:].sum()) == 0.0
