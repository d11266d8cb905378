"""What a tokenizer's recipe may ask for."""

import pytest

from moesaic.errors import RecipeError
from moesaic.training.tokenizer.tokenizer_config import CHAT_TOKENS, PRESETS, TokenizerConfig, tokenizer_preset


def test_the_presets_have_the_sizes_of_their_names():
    assert {name: config.vocab_size for name, config in PRESETS.items()} == {
        "en-zh-8k": 8_000,
        "en-zh-16k": 16_000,
        "pai-50k": 50_000,
    }
    pai = tokenizer_preset("pai-50k")
    assert pai.embedding_rows == 51_200
    assert {*CHAT_TOKENS, "<kg>", "</kg>", "<mask_0>", "<mask_9>"} <= set(pai.symbols)
    with pytest.raises(RecipeError, match=r"'gpt2'.*pai-50k"):
        tokenizer_preset("gpt2")


def test_rows_are_the_next_multiple_of_128_unless_given():
    assert TokenizerConfig(vocab_size=8_000).embedding_rows == 8_064
    assert TokenizerConfig(vocab_size=8_064).embedding_rows == 8_064


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"vocab_size": 299}, "vocab_size=299 must be 300"),
        ({"vocab_size": 8_000, "rows": 7_999}, "rows=7999.*8000"),
        ({"character_coverage": 0.5}, "character_coverage=0.5"),
        ({"character_coverage": float("nan")}, "character_coverage=nan"),
        ({"normalization": "nfc"}, "normalization='nfc'.*nfkc"),
        ({"longest_piece": 0}, "longest_piece=0"),
        ({"longest_line_bytes": 10}, "longest_line_bytes=10"),
        ({"sample_lines": -1}, "sample_lines=-1"),
        ({"symbols": (*CHAT_TOKENS, "two words")}, "two words.*without blanks"),
        ({"symbols": (*CHAT_TOKENS, "<kg>", "<kg>")}, "different from each other"),
        ({"symbols": ("<|im_start|>",)}, r"chat template uses \['<\|im_end\|>'\]"),
        ({"vocab_size": 300, "symbols": (*CHAT_TOKENS, *map(str, range(50)))}, "leaves no room beside 311"),
    ],
)
def test_a_contradiction_is_refused(values, message):
    with pytest.raises(RecipeError, match=message):
        TokenizerConfig(**values)
