"""A trained tokenizer as a folder: what loads it, what it says, and that it is there whole or not at all."""

import json
from dataclasses import asdict, replace

import pytest
from transformers import AutoTokenizer

from moesaic.errors import CorpusError, InputError, TokenizerError
from moesaic.model.tokenizer_files import load_tokenizer
from moesaic.training.tokenizer import tokenizer_folder
from moesaic.training.tokenizer.tokenizer_config import TokenizerConfig
from moesaic.training.tokenizer.tokenizer_folder import DESCRIPTION_NAME, train_tokenizer, write_whole_folder
from tests.training.tokenizer.corpus import TEXTS

CONFIG = TokenizerConfig(vocab_size=420, rows=512)


def test_transformers_and_moesaic_load_it_with_equal_ids(tmp_path):
    report = train_tokenizer(iter(TEXTS), tmp_path / "made" / "tok", CONFIG)
    auto = AutoTokenizer.from_pretrained(tmp_path / "made" / "tok")
    ours = load_tokenizer(tmp_path / "made" / "tok")
    for text in (*TEXTS[:20], "emoji 👩‍👩‍👧 龘"):
        assert auto.encode(text) == ours.encode(text)
        assert auto.decode(auto.encode(text)) == text
    assert auto.chat_template == CONFIG.chat_template
    assert (report.tokens, report.rows, report.documents) == (420, 512, 400)
    assert report.bytes == sum(len(text.encode()) for text in TEXTS)
    assert report.compared == 404
    assert report.bytes_per_token > 1.5


def test_the_folder_says_how_it_was_made(tmp_path):
    report = train_tokenizer(TEXTS, tmp_path / "tok", CONFIG)
    said = json.loads((tmp_path / "tok" / DESCRIPTION_NAME).read_text())
    assert said["report"] == asdict(report)
    assert TokenizerConfig(**{**said["config"], "symbols": tuple(said["config"]["symbols"])}) == CONFIG
    names = {path.name for path in (tmp_path / "tok").iterdir()}
    assert {"tokenizer.json", "tokenizer_config.json", "generation_config.json", "sentencepiece.model"} <= names
    ends = json.loads((tmp_path / "tok" / "generation_config.json").read_text())
    assert set(ends["eos_token_id"]) == {1, 4}


def test_a_folder_in_the_way_is_replaced_only_if_it_is_ours(tmp_path):
    train_tokenizer(TEXTS, tmp_path / "tok", CONFIG)
    with pytest.raises(InputError, match="exists already"):
        train_tokenizer(TEXTS, tmp_path / "tok", CONFIG)
    train_tokenizer(TEXTS, tmp_path / "tok", replace(CONFIG, vocab_size=430), overwrite=True)
    assert len(load_tokenizer(tmp_path / "tok")) == 430
    (tmp_path / "else").mkdir()
    with pytest.raises(InputError, match="no tokenizer made here"):
        train_tokenizer(TEXTS, tmp_path / "else", CONFIG, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["else", "tok"]


def test_too_little_text_and_a_broken_template_leave_nothing_behind(tmp_path):
    with pytest.raises(CorpusError):
        train_tokenizer(["too little"], tmp_path / "tok", CONFIG)
    with pytest.raises(TokenizerError, match="chat template"):
        train_tokenizer(TEXTS, tmp_path / "tok", replace(CONFIG, chat_template="{{ messages[7].nothing.at_all }}"))
    assert list(tmp_path.iterdir()) == []


def test_a_failure_while_writing_leaves_what_was_there(tmp_path):
    train_tokenizer(TEXTS, tmp_path / "tok", CONFIG)

    def write(staged):
        (staged / "half").write_text("half")
        raise KeyError("stop")

    with pytest.raises(KeyError):
        write_whole_folder(tmp_path / "tok", write, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["tok"]
    assert not (tmp_path / "tok" / "half").exists()


def test_text_that_does_not_come_back_is_found():
    class Forgetful:
        def encode(self, text, add_special_tokens):
            return [1]

        def decode(self, ids):
            return "something else"

    with pytest.raises(CorpusError, match="'a text' comes back as 'something else'"):
        tokenizer_folder._check_round_trips(Forgetful(), ["a \u2581 passed over", "a text"])
