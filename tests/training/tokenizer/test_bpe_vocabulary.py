"""What tokens stand for, in both spellings."""

import pytest
from tokenizers import Tokenizer
from tokenizers.models import BPE, WordPiece
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from moesaic.errors import TokenizerError
from moesaic.training.tokenizer.bpe_vocabulary import BPEVocabulary, character_bytes
from moesaic.training.tokenizer.sentencepiece_conversion import convert_pieces
from moesaic.training.tokenizer.sentencepiece_training import learn_pieces
from moesaic.training.tokenizer.tokenizer_config import TokenizerConfig
from tests.training.tokenizer.corpus import TEXTS, tiny_byte_level


def test_every_byte_has_its_gpt2_spelling():
    vocabulary = BPEVocabulary(tiny_byte_level())
    pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    for text in ("\x00 \n~\x7f", "é中👩", "\u00ad\u0100"):
        spelt = "".join(piece for piece, _ in pre_tokenizer.pre_tokenize_str(text))
        assert vocabulary.bytes_of(spelt) == text.encode()
        assert vocabulary.text_of(spelt) == text
    assert sorted(vocabulary.bytes_of(token)[0] for token in ByteLevel.alphabet()) == list(range(256))
    assert vocabulary.text_of(spelt[:1]) is None
    assert not vocabulary.is_byte("a")


def test_sentencepiece_spells_blanks_and_bytes_its_own_way():
    vocabulary = BPEVocabulary(convert_pieces(learn_pieces(TEXTS, TokenizerConfig(vocab_size=420))))
    assert vocabulary.spells_everything
    assert vocabulary.bytes_of("\u2581the") == b" the"
    assert vocabulary.bytes_of("<0xE4>") == b"\xe4"
    assert vocabulary.is_byte("<0xE4>")
    assert vocabulary.text_of("<0xE4>") is None
    assert {"<|im_start|>", "<unk>"} <= vocabulary.added


def test_the_next_id_lies_behind_control_tokens():
    assert BPEVocabulary(tiny_byte_level()).next_id == 341


@pytest.mark.parametrize(("character", "expected"), [("a", 1), ("é", 2), ("中", 3), ("👩", 4)])
def test_a_lead_byte_says_how_long_its_character_is(character, expected):
    assert character_bytes(character.encode()[0]) == expected


def test_other_kinds_of_tokenizers_are_refused():
    for model in (WordPiece({"[UNK]": 0, "a": 1}), BPE({"a": 0}, [], end_of_word_suffix="</w>")):
        with pytest.raises(TokenizerError, match="only plain BPE"):
            BPEVocabulary(PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model)))
