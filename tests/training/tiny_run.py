"""Tiny runs for the tests of training: a recipe, its text and tokenizer, and batches made by hand."""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from moesaic.model.causal_lm import GPTMoEForCausalLM
from moesaic.model.config import GPTMoEConfig
from moesaic.training.batch import IGNORED, Batch
from moesaic.training.pretraining import Outcome, pretrain
from moesaic.training.recipe import Recipe, recipe_of
from moesaic.training.recipe_table import with_settings
from moesaic.training.run_folder import RunFolder
from tests.server.engine.tiny_artifact import write_tokenizer

VOCABULARY = 320
TIMINGS = ("seconds", "tokens_per_s")

_WORDS = [
    "合同",
    "双方",
    "应当",
    "全面履行",
    "the bridge",
    "carries",
    "its own weight",
    "and more",
    "def f(x):",
    "。\n",
]


def tiny_config(experts: Sequence[int] = (0, 4), **fields: Any) -> GPTMoEConfig:
    """A model of two layers and about 60,000 parameters."""
    settings: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": len(experts),
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 64,
        "num_experts_per_layer": list(experts),
        "initializer_range": 0.1,
        "tie_word_embeddings": True,
        "router_gate_mode": "softmax",
    }
    return GPTMoEConfig(**(settings | fields))


def tiny_model(experts: Sequence[int] = (0, 4), **fields: Any) -> GPTMoEForCausalLM:
    """That model with random weights."""
    torch.manual_seed(7)
    return GPTMoEForCausalLM(tiny_config(experts, **fields)).float()


def random_batch(rows: int, length: int, *, documents: int = 2, padding: int = 0, seed: int = 3) -> Batch:
    """Rows of random tokens, each divided into documents at random places, with padding at the end."""
    generator = torch.Generator().manual_seed(seed)
    ids_BS = torch.randint(0, VOCABULARY, (rows, length), generator=generator)
    documents_BS = torch.zeros((rows, length), dtype=torch.int64)
    for row in range(rows):
        cuts = torch.randperm(length - 1, generator=generator)[: documents - 1] + 1
        for cut in cuts.tolist():
            documents_BS[row, cut:] += 1
    if padding:
        documents_BS[:, -padding:] = -1
    labels_BS = torch.where(documents_BS >= 0, ids_BS, IGNORED)
    return Batch(input_ids_BS=ids_BS, labels_BS=labels_BS, documents_BS=documents_BS)


def row_slice(batch: Batch, start: int, stop: int) -> Batch:
    """Some rows of a batch."""
    return Batch(
        input_ids_BS=batch.input_ids_BS[start:stop],
        labels_BS=batch.labels_BS[start:stop],
        documents_BS=batch.documents_BS[start:stop],
    )


def write_corpus(folder: Path, *, characters: int = 6000, seed: int = 5) -> Path:
    """A file of English, Chinese and code in which some things follow from others."""
    folder.mkdir(parents=True, exist_ok=True)
    chooser = random.Random(seed)
    text = ""
    while len(text) < characters:
        text += chooser.choice(_WORDS) + " "
    path = folder / f"corpus-{seed}.txt"
    path.write_text(text[:characters], encoding="utf-8")
    return path


def recipe_table(folder: Path, settings: Sequence[str] = ()) -> dict[str, Any]:
    """The table of a tiny run of six steps in `folder`; its corpus and tokenizer are written."""
    tokenizer = folder / "tokenizer"
    tokenizer.mkdir(parents=True, exist_ok=True)
    write_tokenizer(tokenizer)
    config = tiny_config().to_dict()
    kept: tuple[str, ...] = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    kept += ("num_key_value_heads",)
    kept += ("max_position_embeddings", "num_experts_per_layer", "initializer_range", "tie_word_embeddings")
    table: dict[str, Any] = {
        "run": {"folder": str(folder / "run"), "steps": 6, "checkpoint_every": 2, "seed": 1},
        "model": {
            "start": "scratch",
            "tokenizer": str(tokenizer),
            "config": {name: config[name] for name in kept} | {"router_jitter": 0.01},
        },
        "text": {"paths": [str(write_corpus(folder / "corpus"))]},
        "batch": {"rows": 4, "micro_rows": 2, "sequence_length": 32},
        "optimizer": {"learning_rate": 0.01},
    }
    return with_settings(table, settings)


def tiny_recipe(folder: Path, *settings: str) -> Recipe:
    """The recipe of a tiny run."""
    return recipe_of(recipe_table(folder, settings))


def write_recipe(path: Path, table: Mapping[str, Any]) -> Path:
    """A table as a TOML file."""
    path.write_text("\n".join(_toml_lines(table, "")) + "\n", encoding="utf-8")
    return path


def _toml_lines(table: Mapping[str, Any], where: str) -> Iterator[str]:
    inner = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    if where:
        yield f"[{where}]"
    yield from (f"{key} = {json.dumps(value)}" for key, value in table.items() if key not in inner)
    for key, value in inner.items():
        yield from _toml_lines(value, f"{where}.{key}" if where else key)


def without_timings(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Metrics without what depends on the clock."""
    return [{name: value for name, value in line.items() if name not in TIMINGS} for line in lines]


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """The metrics of a run, without timings."""
    return without_timings(RunFolder(folder).measured())


def run(folder: Path, *settings: str, **options: Any) -> Outcome:
    """A tiny run in `folder / "run"`."""
    return pretrain(tiny_recipe(folder, *settings), **options)


def tokenizer_of(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of the tiny runs, one token per byte."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread: tiny tensors are slower on more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
