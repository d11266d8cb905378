"""Measures of tokenizers against counts made by hand."""

import pytest

from moesaic.errors import CorpusError
from moesaic.training.tokenizer.comparison import compare_compression, measure_compression
from moesaic.training.tokenizer.sentencepiece_conversion import convert_pieces
from moesaic.training.tokenizer.sentencepiece_training import learn_pieces
from moesaic.training.tokenizer.tokenizer_config import TokenizerConfig
from tests.training.tokenizer.corpus import TEXTS, tiny_byte_level


def learnt(**values):
    return convert_pieces(learn_pieces(TEXTS, TokenizerConfig(**values)))


def test_counts_are_those_made_by_hand():
    found = measure_compression(tiny_byte_level(), ["the 龘", "é!"])
    tokens = len(tiny_byte_level().encode("the 龘")) + 3
    assert (found.texts, found.characters, found.bytes, found.tokens) == (2, 7, 10, tokens)
    assert found.bytes_per_token == pytest.approx(10 / tokens)
    assert found.characters_per_token == pytest.approx(7 / tokens)
    assert found.fallback_rate == pytest.approx(2 / 7)
    assert found.unknown_rate == 0.0


def test_both_spellings_of_bytes_count_alike():
    for tokenizer in (tiny_byte_level(), learnt(vocab_size=420)):
        assert measure_compression(tokenizer, ["龘𠮷 the"]).fallback_rate == pytest.approx(2 / 6)
        assert measure_compression(tokenizer, ["\n the <|im_start|>"]).fallback_rate == 0.0


def test_lost_text_is_counted():
    found = measure_compression(learnt(vocab_size=300, byte_fallback=False), ["the龘龘the"])
    assert found.unknown_rate == pytest.approx(1 / found.tokens)
    assert measure_compression(learnt(vocab_size=420), ["a corpus with <unk> in it"]).unknown_rate == 0.0


def test_a_tokenizer_that_has_seen_chinese_is_better_at_chinese_alone():
    chinese = ["读取文件系统，管理员检查服务器配置。"]
    english = ["the reader opens a file and writes every line"]
    found = compare_compression(
        {"en": tiny_byte_level(), "both": learnt(vocab_size=600)}, {"en": english, "zh": chinese}
    )
    assert found["both"]["zh"].bytes_per_token > 3 * found["en"]["zh"].bytes_per_token
    assert found["en"]["zh"].fallback_rate == 1.0
    assert found["both"]["zh"].fallback_rate == 0.0
    assert set(found["en"]) == {"en", "zh"}


@pytest.mark.parametrize("texts", [[], [""]])
def test_no_text_is_refused(texts):
    with pytest.raises(CorpusError, match="no held-out text"):
        measure_compression(tiny_byte_level(), texts)
