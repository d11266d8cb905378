"""Tokenizers of folders encode without special tokens, and say what is wrong with them."""

import json
from pathlib import Path

import pytest
import sentencepiece
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from moesaic.errors import TokenizerError
from moesaic.training.data.text_encoder import FolderEncoder, encoder_digest
from tests.training.data.byte_encoder import ByteEncoder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A word-level tokenizer that would put <s> before a text."""
    tokenizer = Tokenizer(
        models.WordLevel({"<s>": 0, "</s>": 1, "<unk>": 2, "hello": 3, "world": 7}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>"}))
    return tmp_path


def test_a_fast_tokenizer(folder: Path) -> None:
    encoder = FolderEncoder(folder)
    assert encoder.encode("hello world !") == [3, 7, 2]
    assert (encoder.eos_token_id, encoder.vocab_size) == (1, 8)
    assert encoder_digest(encoder) == encoder.digest
    (folder / "tokenizer_config.json").unlink()
    (folder / "special_tokens_map.json").write_text(json.dumps({"eos_token": {"content": "<unk>"}}))
    assert FolderEncoder(folder).eos_token_id == 2


def test_a_sentencepiece_model(tmp_path: Path) -> None:
    corpus = tmp_path / "text"
    corpus.write_text("hello world\n你好世界\n" * 20)
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(tmp_path / "tokenizer"), vocab_size=40, byte_fallback=False,
        hard_vocab_limit=False, eos_id=2, minloglevel=2,
    )  # fmt: skip
    encoder = FolderEncoder(tmp_path)
    ids = encoder.encode("hello 世界")
    assert ids
    assert max(ids) < encoder.vocab_size
    assert encoder.eos_token_id == 2
    assert 2 not in ids


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("tokenizer.json", "{", "cannot be loaded"),
        ("tokenizer_config.json", "{}", "does not say which token ends a text .eos_token is None"),
        ("tokenizer_config.json", '{"eos_token": "<end>"}', "eos_token is '<end>'"),
        ("tokenizer_config.json", "[", "is damaged"),
    ],
)
def test_bad_folders_are_refused(folder: Path, name: str, content: str, fault: str) -> None:
    (folder / name).write_text(content)
    with pytest.raises(TokenizerError, match=fault):
        FolderEncoder(folder)


def test_no_tokenizer_and_a_broken_model(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="has no tokenizer"):
        FolderEncoder(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"no model")
    with pytest.raises(TokenizerError, match="cannot be loaded"):
        FolderEncoder(tmp_path)


def test_other_tokenizers_are_told_by_what_they_make() -> None:
    class Nameless(ByteEncoder):
        digest = ""

    class Shifted(Nameless):
        def encode(self, text: str, /) -> list[int]:
            return [token % 256 + 1 for token in super().encode(text)]

    assert encoder_digest(ByteEncoder()) == "bytes"
    assert encoder_digest(Nameless()) == encoder_digest(Nameless()) != encoder_digest(Shifted())
