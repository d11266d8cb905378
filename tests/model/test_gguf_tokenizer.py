"""Tokenizers out of GGUF metadata, against sentencepiece and transformers on the same vocabularies."""

from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast
from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS, convert_gguf_tokenizer

from moesaic.errors import TokenizerError
from moesaic.model.gguf_tokenizer import SPLITTING_RULES, build_tokenizer
from tests.model.tiny_dense import MERGES, TOKENS, byte_level_metadata

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cn", "Co"]), max_size=40) | st.text(
    st.sampled_from("the 你好，世界。 12\n\t'S's"), max_size=40
)
RULES = ["gpt-2", "smollm", "llama-bpe", "qwen2", "tekken"]


def pieces(tokenizer: PreTrainedTokenizerFast, text: str) -> list[str]:
    """How a text is split before merging."""
    return [piece for piece, _ in tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text)]


class TestByteLevel:
    @pytest.mark.parametrize("rule", RULES)
    @given(text=TEXTS)
    def test_any_text_comes_back(self, rule: str, text: str) -> None:
        tokenizer = build_tokenizer(byte_level_metadata(**{"tokenizer.ggml.pre": rule}), "the file")
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        back = tokenizer.decode(ids)
        normalizer = tokenizer.backend_tokenizer.normalizer
        assert back == (text if normalizer is None else normalizer.normalize_str(text))
        assert max(ids, default=0) < len(TOKENS)

    def test_merges_are_applied_in_their_order(self) -> None:
        tokenizer = build_tokenizer(byte_level_metadata(), "the file")
        assert tokenizer.tokenize("x the你") == ["x", "Ġthe", "ä½ł"]

    def test_control_tokens_are_special_and_user_defined_ones_are_text(self) -> None:
        tokenizer = build_tokenizer(byte_level_metadata(), "the file")
        ids = tokenizer("<|im_start|><think>x<|im_end|>")["input_ids"]
        assert ids == [1, 3, TOKENS.index("x"), 2]
        assert tokenizer.decode(ids, skip_special_tokens=True) == "<think>x"
        named = (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token)
        assert named == ("<|im_start|>", "<|im_end|>", "<|endoftext|>", None)

    @pytest.mark.parametrize(
        ("rule", "expected"),
        [
            ("gpt-2", ["Ġ", "Ġ12345", "Ġa", "'s", "'", "S", "!?", "Ċ", "Ċ", "x"]),
            ("smollm", ["ĠĠ", "1", "2", "3", "4", "5", "Ġa", "'s", "'", "S", "!?", "Ċ", "Ċ", "x"]),
            ("llama-bpe", ["Ġ", "Ġ", "123", "45", "Ġa", "'s", "'S", "!?ĊĊ", "x"]),
            ("qwen2", ["Ġ", "Ġ", "1", "2", "3", "4", "5", "Ġa", "'s", "'S", "!?ĊĊ", "x"]),
            ("tekken", ["Ġ", "Ġ", "1", "2", "3", "4", "5", "Ġa", "'s", "'S", "!?ĊĊ", "x"]),
        ],
    )
    def test_rules_split_differently(self, rule: str, expected: list[str]) -> None:
        tokenizer = build_tokenizer(byte_level_metadata(**{"tokenizer.ggml.pre": rule}), "the file")
        assert pieces(tokenizer, "  12345 a's'S!?\n\nx") == expected

    def test_patterns_are_those_that_transformers_has(self) -> None:
        shared = SPLITTING_RULES.keys() & GGUF_PRE_TOKENIZER_SPLITS.keys()
        assert {"llama-bpe", "qwen2", "tekken"} <= shared
        for name in shared:
            assert SPLITTING_RULES[name] == GGUF_PRE_TOKENIZER_SPLITS[name], name

    @pytest.mark.parametrize(
        ("changes", "text", "expected"),
        [
            ({}, "x", ["x"]),
            ({"tokenizer.ggml.add_bos_token": True}, "x", ["<|im_start|>", "x"]),
            ({"tokenizer.ggml.add_eos_token": True}, "x", ["x", "<|im_end|>"]),
            ({"tokenizer.ggml.pre": "llama-bpe"}, "x", ["<|im_start|>", "x"]),
            ({"tokenizer.ggml.pre": "llama-bpe", "tokenizer.ggml.add_bos_token": False}, "x", ["x"]),
        ],
    )
    def test_what_is_put_around_a_text(self, changes: dict[str, Any], text: str, expected: list[str]) -> None:
        tokenizer = build_tokenizer(byte_level_metadata(**changes), "the file")
        assert tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"]) == expected

    def test_a_word_that_is_a_token_is_not_merged_where_the_rule_says_so(self) -> None:
        # "Ġnew" can't come out of the merges; Llama 3's vocabularies have such tokens.
        changes = {"tokenizer.ggml.tokens": [*TOKENS, "Ġnew"], "tokenizer.ggml.token_type": None}
        whole = build_tokenizer(byte_level_metadata(**changes, **{"tokenizer.ggml.pre": "llama-bpe"}), "the file")
        merged = build_tokenizer(byte_level_metadata(**changes), "the file")
        assert whole.tokenize(" new") == ["Ġnew"]
        assert merged.tokenize(" new") == ["Ġ", "n", "e", "w"]


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> sentencepiece.SentencePieceProcessor:
    """A SentencePiece BPE vocabulary with byte fallback, trained on a few English and Chinese lines."""
    folder = tmp_path_factory.mktemp("spm")
    lines = [
        "The quick brown fox jumps over the lazy dog, and then the dog sleeps.",
        "人工智能正在改变世界，世界也在改变人工智能。今天天气很好。",
        "A model of the world is a model of words in the world.",
    ]
    (folder / "text").write_text("\n".join(lines * 20))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text"),
        model_prefix=str(folder / "spm"),
        model_type="bpe",
        vocab_size=400,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "spm.model"))


def sentencepiece_metadata(model: sentencepiece.SentencePieceProcessor, **changes: Any) -> dict[str, Any]:
    """What llama.cpp's converter takes over from a SentencePiece model."""
    ids = range(model.get_piece_size())
    kinds = [2 if model.is_unknown(i) else 3 if model.is_control(i) else 6 if model.is_byte(i) else 1 for i in ids]
    metadata: dict[str, Any] = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": [model.id_to_piece(i) for i in ids],
        "tokenizer.ggml.scores": [model.get_score(i) for i in ids],
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.bos_token_id": model.bos_id(),
        "tokenizer.ggml.eos_token_id": model.eos_id(),
        "tokenizer.ggml.unknown_token_id": model.unk_id(),
    }
    return {name: value for name, value in (metadata | changes).items() if value is not None}


SPOKEN_TEXTS = st.text(st.sampled_from("the wordlmofs，世界人工智能。 \nZ🙂"), max_size=30)


class TestSentencePiece:
    @given(text=SPOKEN_TEXTS)
    def test_tokens_are_those_of_sentencepiece(self, spoken: sentencepiece.SentencePieceProcessor, text: str) -> None:
        tokenizer = build_tokenizer(sentencepiece_metadata(spoken), "the file")
        ids = tokenizer(text)["input_ids"]
        assert ids == [spoken.bos_id(), *spoken.encode(text)]
        assert tokenizer.decode(ids, skip_special_tokens=True) == text

    def test_bytes_and_control_tokens_spelled_in_text_stay_text(
        self, spoken: sentencepiece.SentencePieceProcessor
    ) -> None:
        tokenizer = build_tokenizer(sentencepiece_metadata(spoken), "the file")
        assert spoken.piece_to_id("<0x0A>") not in tokenizer("<0x0A>")["input_ids"]
        assert tokenizer.decode(tokenizer("<0x0A>")["input_ids"], skip_special_tokens=True) == "<0x0A>"

    def test_no_blank_before_the_text_where_the_file_says_so(
        self, spoken: sentencepiece.SentencePieceProcessor
    ) -> None:
        metadata = sentencepiece_metadata(
            spoken, **{"tokenizer.ggml.add_space_prefix": False, "tokenizer.ggml.add_bos_token": False}
        )
        tokenizer = build_tokenizer(metadata, "the file")
        assert tokenizer.tokenize("world")[0][0] == "w"
        assert tokenizer.decode(tokenizer(" the world")["input_ids"]) == " the world"

    def test_agrees_with_transformers(self, spoken: sentencepiece.SentencePieceProcessor) -> None:
        metadata = sentencepiece_metadata(spoken)
        described = {
            "tokenizer_type": "llama",
            "tokens": metadata["tokenizer.ggml.tokens"],
            "scores": metadata["tokenizer.ggml.scores"],
            "token_type": metadata["tokenizer.ggml.token_type"],
        }
        theirs, _ = convert_gguf_tokenizer("llama", described)
        ours = build_tokenizer(metadata, "the file")
        for text in ("The dog models the world.", "今天世界很好，Z🙂"):
            assert (
                ours(text, add_special_tokens=False)["input_ids"] == theirs.encode(text, add_special_tokens=False).ids
            )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokenizer.ggml.tokens": None}, "carries no vocabulary"),
        ({"tokenizer.ggml.model": "bert"}, "tokenizer kind 'bert': supported are 'gpt2'"),
        ({"tokenizer.ggml.model": "llama"}, "tokenizer kind 'llama'.*with scores"),
        ({"tokenizer.ggml.pre": "unheard-of"}, "splitting rule 'unheard-of': supported are .* gpt-2, .*qwen2"),
        ({"tokenizer.ggml.pre": None}, "splitting rule None"),
        ({"tokenizer.ggml.merges": None}, "has no merges"),
        ({"tokenizer.ggml.merges": [*MERGES, "Ġthe Ġmissing"]}, "merges that don't fit its tokens"),
        ({"tokenizer.ggml.token_type": [1, 3]}, "another number of tokenizer.ggml.token_type"),
        ({"tokenizer.ggml.eos_token_id": 5000}, r"eos_token_id=5000, its tokens go from 0 to"),
    ],
)
def test_unusable_metadata_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        build_tokenizer(byte_level_metadata(**changes), "the file")


def test_saved_tokenizer_is_the_same(tmp_path: Path) -> None:
    tokenizer = build_tokenizer(byte_level_metadata(), "the file")
    tokenizer.save_pretrained(tmp_path)
    loaded = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    text = "<|im_start|>the 你好 12<|im_end|>"
    assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]
