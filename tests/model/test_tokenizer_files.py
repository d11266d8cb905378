"""Tokenizer files of an artifact: the same ids from every kind of source, and every token that ends a turn."""

import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast, Qwen2Tokenizer

from moesaic.errors import TokenizerError
from moesaic.model.tokenizer_files import check_vocabulary, load_tokenizer, write_tokenizer_files
from tests.model.tiny_dense import CHAT, MERGES, TOKENS

CONFIG: dict[str, Any] = {"vocab_size": 512, "bos_token_id": None, "eos_token_id": 0, "pad_token_id": None}
PAIRS = [(left, right) for left, _, right in (merge.partition(" ") for merge in MERGES)]
TEXTS = ("The the 12345  x", "你好，世界。\n今天", "<|im_start|>user\n你<|im_end|>\n")


def byte_level(**settings: Any) -> PreTrainedTokenizerFast:
    """A tokenizer with three control tokens that sets digits apart."""
    backend = Tokenizer(BPE(vocab={token: index for index, token in enumerate(TOKENS)}, merges=PAIRS))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in TOKENS[:3]])
    return PreTrainedTokenizerFast(tokenizer_object=backend, **({"eos_token": "<|im_end|>"} | settings))


def written(tokenizer: PreTrainedTokenizerFast, folder: Path, **options: Any) -> dict[str, Any]:
    """Write it and return generation_config.json."""
    folder.mkdir(exist_ok=True)
    write_tokenizer_files(tokenizer, folder, **({"config": CONFIG, "where": "the base"} | options))
    content: dict[str, Any] = json.loads((folder / "generation_config.json").read_text())
    assert GenerationConfig.from_pretrained(folder).eos_token_id == content.get("eos_token_id")
    return content


class TestWriting:
    @pytest.mark.parametrize("model_type", ["gpt_moe", "llama", "qwen3"])
    def test_any_model_type_loads_the_same_tokenizer(self, model_type: str, tmp_path: Path) -> None:
        # transformers' own class for Llama or Qwen would replace the splitting rules of tokenizer.json.
        original = byte_level(chat_template=CHAT)
        written(original, tmp_path)
        (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
        loaded = AutoTokenizer.from_pretrained(tmp_path)
        for text in TEXTS:
            assert loaded(text)["input_ids"] == original(text)["input_ids"]
            assert loaded.decode(loaded(text)["input_ids"]) == text
        assert loaded.tokenize("x12") == ["x", "1", "2"]
        message = [{"role": "user", "content": "你"}]
        assert loaded.apply_chat_template(message, tokenize=False) == "<|im_start|>user\n你<|im_end|>\n"

    def test_chat_template_is_in_the_configuration(self, tmp_path: Path) -> None:
        written(byte_level(chat_template=CHAT), tmp_path)
        assert json.loads((tmp_path / "tokenizer_config.json").read_text())["chat_template"] == CHAT
        assert not (tmp_path / "chat_template.jinja").exists()

    @pytest.mark.parametrize(
        ("template", "reason"),
        [
            ("{% for m in messages %}", "Unexpected end of template"),
            ("{{ raise_exception('system first') }}", "system first"),
            ("{{ messages[0].content.missing() }}", "no attribute 'missing'"),
        ],
    )
    def test_broken_chat_template_is_refused_before_anything_is_written(
        self, template: str, reason: str, tmp_path: Path
    ) -> None:
        with pytest.raises(TokenizerError, match=f"chat template of the base.*{reason}"):
            written(byte_level(chat_template=template), tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_more_tokens_than_rows_are_refused_before_anything_is_written(self, tmp_path: Path) -> None:
        with pytest.raises(TokenizerError, match=rf"ids up to {len(TOKENS) - 1}, its embedding rows 0 to 99"):
            written(byte_level(), tmp_path, config=CONFIG | {"vocab_size": 100})
        assert list(tmp_path.iterdir()) == []

    def test_last_row_is_allowed(self) -> None:
        check_vocabulary(99, 100, "the base")
        with pytest.raises(TokenizerError):
            check_vocabulary(100, 100, "the base")


class TestGeneration:
    def test_every_end_is_listed_and_declared_ones_come_first(self, tmp_path: Path) -> None:
        content = written(byte_level(), tmp_path, config=CONFIG | {"eos_token_id": [7, 2], "bos_token_id": 1})
        assert content == {"eos_token_id": [7, 2, 0], "bos_token_id": 1}

    def test_settings_of_the_base_are_kept(self, tmp_path: Path) -> None:
        settings = {"do_sample": True, "temperature": 0.7, "eos_token_id": 9, "pad_token_id": 3}
        content = written(byte_level(), tmp_path, generation=settings)
        assert content == settings | {"eos_token_id": [9, 0, 2]}

    def test_words_of_the_text_are_no_end_tokens(self, tmp_path: Path) -> None:
        backend = Tokenizer(BPE(vocab={"<|im_end|>": 0, "a": 1}, merges=[]))
        content = written(
            PreTrainedTokenizerFast(tokenizer_object=backend), tmp_path, config=CONFIG | {"eos_token_id": None}
        )
        assert "eos_token_id" not in content


class TestLoading:
    def test_model_specific_class_gives_the_ids_of_its_tokenizer_json(self, tmp_path: Path) -> None:
        vocabulary = {token: index for index, token in enumerate(TOKENS)}
        qwen = Qwen2Tokenizer(vocab=vocabulary, merges=PAIRS, unk_token=None)
        qwen.add_special_tokens({"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"})
        qwen.chat_template = CHAT
        qwen.save_pretrained(tmp_path / "base")
        assert (tmp_path / "base" / "chat_template.jinja").is_file()
        written(load_tokenizer(tmp_path / "base"), tmp_path / "written")
        loaded = AutoTokenizer.from_pretrained(tmp_path / "written")
        for text in TEXTS:
            assert loaded(text)["input_ids"] == qwen(text)["input_ids"]
        assert loaded.chat_template == CHAT
        assert (loaded.eos_token, loaded.pad_token) == ("<|im_end|>", "<|endoftext|>")

    def test_sentencepiece_model_is_converted(self, tmp_path: Path) -> None:
        base = tmp_path / "base"
        base.mkdir()
        lines = ["The model of the world.", "世界的模型，今天很好。"] * 20
        (tmp_path / "text").write_text("\n".join(lines))
        sentencepiece.SentencePieceTrainer.train(
            input=str(tmp_path / "text"),
            model_prefix=str(base / "tokenizer"),
            model_type="bpe",
            vocab_size=330,
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            minloglevel=2,
        )
        (base / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "LlamaTokenizer"}))
        (base / "config.json").write_text(json.dumps({"model_type": "llama"}))
        spoken = sentencepiece.SentencePieceProcessor(model_file=str(base / "tokenizer.model"))
        written(load_tokenizer(base), tmp_path / "written")
        loaded = AutoTokenizer.from_pretrained(tmp_path / "written")
        for text in ("The world of the model", "今天的世界很好，Z"):
            assert loaded(text, add_special_tokens=False)["input_ids"] == spoken.encode(text)

    def test_vocabulary_with_merges_is_converted(self, tmp_path: Path) -> None:
        (tmp_path / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(TOKENS)}))
        (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(MERGES) + "\n")
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "Qwen2Tokenizer"}))
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
        assert load_tokenizer(tmp_path).tokenize("x the你") == ["x", "Ġthe", "ä½ł"]

    def test_no_tokenizer(self, tmp_path: Path) -> None:
        with pytest.raises(TokenizerError, match=r"has no tokenizer: put tokenizer\.json"):
            load_tokenizer(tmp_path)

    def test_broken_tokenizer(self, tmp_path: Path) -> None:
        (tmp_path / "tokenizer.json").write_text("{}")
        with pytest.raises(TokenizerError, match="can't be loaded"):
            load_tokenizer(tmp_path)
