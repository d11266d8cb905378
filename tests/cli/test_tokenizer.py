"""`moesaic tokenizer`: from text to a tokenizer, figures, and an extended model."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from typer.testing import CliRunner, Result

from moesaic.artifact import ModelArtifact
from moesaic.cli.tokenizer import app
from moesaic.errors import CorpusError, InputError, RecipeError
from moesaic.model.tokenizer_files import load_tokenizer
from tests.training.tokenizer.corpus import TEXTS, tiny_byte_level


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder with JSON lines (one of them damaged) and a text file."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    lines = [json.dumps({"body": text}, ensure_ascii=False) for text in TEXTS[:300]]
    (folder / "a.jsonl").write_text("\n".join([*lines, "{damaged"]), encoding="utf-8")
    (folder / "b.txt").write_text("\n\n".join(TEXTS[300:380]), encoding="utf-8")
    (tmp_path / "held.txt").write_text("\n".join(TEXTS[380:]), encoding="utf-8")
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_tokenizer_is_trained_and_compared(corpus, tmp_path):
    out = tmp_path / "tok"
    options = ("--preset", "en-zh-8k", "--vocab-size", "440", "--text-field", "body", "--symbol", "<law>")
    trained = run("train", out, corpus, *options, "--json")
    assert trained.exit_code == 0, trained.output
    report = json.loads(trained.stdout)
    assert (report["tokens"], report["rows"], report["documents"]) == (440, 512, 301)
    assert "a.jsonl:301" in trained.stderr
    assert len(load_tokenizer(out).encode("<law>")) == 1

    tiny_byte_level().save_pretrained(tmp_path / "old", save_jinja_files=False)
    held_out = ("--held-out", f"mixed={tmp_path / 'held.txt'}")
    tiny = ("--tiny", tmp_path / "held.txt", "--steps", 2, "--bytes-per-step", 256)
    compared = run("compare", out, tmp_path / "old", *held_out, *tiny, "--json")
    assert compared.exit_code == 0, compared.output
    figures = json.loads(compared.stdout)
    new, old = (figures[str(name)]["compression"]["mixed"] for name in (out, tmp_path / "old"))
    assert new["bytes_per_token"] > old["bytes_per_token"]
    assert old["fallback_rate"] > 0.2 > new["fallback_rate"]
    assert all(figure["tiny_model"]["bits_per_byte"]["mixed"] > 0 for figure in figures.values())
    table = run("compare", out, *held_out)
    assert "bytes/token" in table.stdout
    assert "mixed" in table.stdout


def test_a_models_vocabulary_is_extended(corpus, tmp_path):
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "llama",
        architectures=["LlamaForCausalLM"],
        vocab_size=341,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
        bos_token_id=None,
        eos_token_id=340,
        tie_word_embeddings=True,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "model")
    tiny_byte_level().save_pretrained(tmp_path / "model", save_jinja_files=False)
    done = run(
        "extend", tmp_path / "model", tmp_path / "more", corpus, "--tokens", 60, "--text-field", "body", "--json"
    )
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["tokens_before"], report["tokens_after"]) == (341, 401)
    assert (report["rows_before"], report["rows_after"]) == (341, 512)
    assert report["bytes_per_token_after"] > report["bytes_per_token_before"]
    ModelArtifact.open(tmp_path / "more").verify()


def test_bad_values_are_refused(corpus, tmp_path):
    cases = [
        (("train", tmp_path / "tok", corpus, "--preset", "gpt2"), RecipeError, "pai-50k"),
        (("train", tmp_path / "tok", corpus / "a.jsonl"), CorpusError, "'text'"),
        (("train", tmp_path / "tok", corpus), CorpusError, "smaller vocab_size"),
        (("train", tmp_path / "tok", tmp_path / "absent"), CorpusError, "no file or folder"),
        (("compare", tmp_path / "tok", "--held-out", "zh.txt"), InputError, "NAME=PATH"),
        (("extend", "x", tmp_path / "more", corpus, "--script", "latin"), RecipeError, "han or any"),
    ]
    for arguments, kind, words in cases:
        failed = run(*arguments)
        assert isinstance(failed.exception, kind), failed.output
        assert words in str(failed.exception)
    assert not (tmp_path / "tok").exists()
