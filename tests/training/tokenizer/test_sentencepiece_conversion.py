"""The fast tokenizer gives SentencePiece's ids and the text back, on anything that can be written."""

import pytest
import sentencepiece
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from moesaic.errors import TokenizerError
from moesaic.training.tokenizer.sentencepiece_conversion import check_equal_ids, convert_pieces
from moesaic.training.tokenizer.sentencepiece_training import learn_pieces
from moesaic.training.tokenizer.tokenizer_config import CHAT_TEMPLATE, CHAT_TOKENS, TokenizerConfig
from tests.training.tokenizer.corpus import TEXTS

CONFIG = TokenizerConfig(vocab_size=600, symbols=(*CHAT_TOKENS, "<kg>", "<mask_0>", "<mask_01>"))
PERIODIC = ["ab" * n + "a" * m + "哈" * n + " " * m for n in range(1, 12) for m in range(1, 12)]


@pytest.fixture(scope="module")
def model() -> bytes:
    return learn_pieces([*TEXTS, *PERIODIC], CONFIG)


@pytest.fixture(scope="module")
def fast(model: bytes) -> PreTrainedTokenizerFast:
    return convert_pieces(model, CHAT_TEMPLATE)


@pytest.fixture(scope="module")
def reference(model: bytes) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_proto=model)


WRITTEN = st.one_of(
    st.text(),
    st.text("ab哈 "),
    st.text("thereadosfil 读取文件系统，\n\t<>|_0123456789kgmasx"),
    st.lists(st.sampled_from([*TEXTS[0].split(), *CONFIG.symbols, " ", "<0x41>", "👩‍👩‍👧", "龘"])).map("".join),
)


@given(WRITTEN)
@example("<mask_01><mask_0>1 <kg>")
@example("\u0000\ufeff\u200b 龘𠮷 \U0010ffff")
@example("ababab aaaaaaa 哈哈哈哈哈哈哈     ")
def test_ids_are_those_of_sentencepiece_and_the_text_comes_back(fast, reference, text):
    ids = fast.encode(text, add_special_tokens=False)
    if not any(token in text for token in ("<unk>", "<|endoftext|>", "<|pad|>")):
        assert ids == reference.encode(text)
    if "\u2581" not in text:
        assert fast.decode(ids) == text


def test_every_text_of_the_corpus_is_equal(fast, model):
    assert check_equal_ids(fast, model, TEXTS) == len(TEXTS)


def test_a_difference_is_found(model):
    other = convert_pieces(learn_pieces(TEXTS, CONFIG))
    with pytest.raises(TokenizerError, match=r"other ids than SentencePiece.*first at token"):
        check_equal_ids(other, model, TEXTS)


def test_turns_are_special_and_sentinels_are_text(fast):
    ids = fast.encode("<|im_start|>user\n<kg>a<|im_end|><|endoftext|>", add_special_tokens=False)
    assert fast.decode(ids, skip_special_tokens=True) == "user\n<kg>a"
    assert (fast.eos_token, fast.pad_token, fast.unk_token) == ("<|endoftext|>", "<|pad|>", "<unk>")
    assert (fast.eos_token_id, fast.pad_token_id, fast.unk_token_id) == (1, 2, 0)


def test_conversations_are_one_token_per_mark(fast):
    turns = [{"role": "user", "content": "读取文件"}, {"role": "assistant", "content": "ok"}]
    text = fast.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert text == "<|im_start|>user\n读取文件<|im_end|>\n<|im_start|>assistant\nok<|im_end|>\n<|im_start|>assistant\n"
    ids = fast.encode(text, add_special_tokens=False)
    assert [ids.count(fast.convert_tokens_to_ids(mark)) for mark in CHAT_TOKENS] == [3, 2]


def test_without_bytes_to_fall_back_on_the_unknown_is_one_token():
    config = TokenizerConfig(vocab_size=300, byte_fallback=False)
    model = learn_pieces(TEXTS, config)
    fast = convert_pieces(model)
    assert check_equal_ids(fast, model, ["龘龘 the 龘", "👩‍👩‍👧a", *TEXTS[:50]]) == 52
    assert fast.encode("龘龘", add_special_tokens=False) == [0]


def test_folded_text_has_equal_ids_too():
    model = learn_pieces(TEXTS, TokenizerConfig(vocab_size=420, normalization="nfkc"))
    fast = convert_pieces(model)
    texts = ["ｆｕｌｌ ｗｉｄｔｈ １２", "ﬁle ① ㍿", *TEXTS[:50]]
    assert check_equal_ids(fast, model, texts) == 52
    assert fast.decode(fast.encode("ﬁle", add_special_tokens=False)) == "file"


def test_a_model_that_changes_texts_is_refused(tmp_path):
    prefix = tmp_path / "other"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_prefix=str(prefix), vocab_size=300, model_type="bpe", minloglevel=2
    )
    with pytest.raises(TokenizerError, match=r"add_dummy_prefix=True.*changes texts"):
        convert_pieces(prefix.with_suffix(".model").read_bytes())
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_prefix=str(prefix), vocab_size=200, model_type="unigram", minloglevel=2
    )
    with pytest.raises(TokenizerError, match="only BPE"):
        convert_pieces(prefix.with_suffix(".model").read_bytes())
