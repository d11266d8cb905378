"""Learning pieces: no text is passed over, and too little text is said to be too little."""

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from moesaic.errors import CorpusError
from moesaic.training.tokenizer.sentencepiece_training import learn_pieces, training_lines
from moesaic.training.tokenizer.tokenizer_config import TokenizerConfig
from tests.training.tokenizer.corpus import TEXTS

TINY = TokenizerConfig(vocab_size=420)
BREAKS = "\r\n\t\0\u2028\u2029\u2585"


@given(st.lists(st.text(), max_size=5), st.integers(16, 80))
def test_lines_hold_all_of_the_text_and_none_is_too_long(texts, longest):
    lines = list(training_lines(texts, longest))
    kept = "".join(character for text in texts for character in text if character not in BREAKS)
    assert "".join(lines) == kept
    assert all(0 < len(line.encode("utf-8", "replace")) <= longest for line in lines)


def test_a_long_line_is_divided_at_a_blank():
    assert list(training_lines(["one two three four"], 16)) == ["one two three", " four"]


def pieces(model: bytes) -> list[str]:
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    return [processor.id_to_piece(index) for index in range(processor.get_piece_size())]


def test_the_vocabulary_has_control_symbol_and_byte_tokens_first():
    found = pieces(learn_pieces(TEXTS, TINY))
    assert len(found) == 420
    assert found[:5] == ["<unk>", "<|endoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>"]
    assert found[5:261] == [f"<0x{byte:02X}>" for byte in range(256)]
    assert "文件" in found
    assert not any(len(piece) > 1 and any(c.isdigit() for c in piece) for piece in found[261:])


def test_text_in_lines_that_sentencepiece_would_pass_over_is_learnt_from():
    hidden = [f"\t{'zyx' * 3000}\t" for _ in range(3)]
    assert any("zyx" in piece for piece in pieces(learn_pieces([*TEXTS, *hidden], TINY)))


def test_equal_texts_give_equal_pieces_also_when_some_are_drawn():
    config = TokenizerConfig(vocab_size=420, sample_lines=200, seed=3)
    assert learn_pieces(TEXTS, config) == learn_pieces(TEXTS, config)


@pytest.mark.parametrize(("texts", "lines"), [([], "0 lines"), (["\n\t"], "0 lines"), (["a few words"], "1 lines")])
def test_too_little_text_is_refused(texts, lines):
    with pytest.raises(CorpusError, match=f"no 420 tokens.*{lines}.*smaller vocab_size"):
        learn_pieces(texts, TINY)


def test_half_a_surrogate_does_no_harm():
    assert len(pieces(learn_pieces([*TEXTS, "broken \ud83d text"], TINY))) == 420
