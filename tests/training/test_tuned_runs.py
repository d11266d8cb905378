"""Runs over a trained model: a dense one, its experts alone, low-rank updates, examples, and prepared data."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from moesaic.errors import RecipeError
from moesaic.model import conversion
from moesaic.model.plain import load_plain
from moesaic.model.upcycling import UpcycleOptions
from moesaic.training.pretraining import Outcome, pretrain
from moesaic.training.recipe import recipe_of
from moesaic.training.recipe_table import with_settings
from tests.model.tiny_dense import tiny_model as tiny_dense
from tests.server.engine.tiny_artifact import write_tokenizer
from tests.training.tiny_run import lines_of, one_thread, recipe_table, write_corpus


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama with a tokenizer of bytes and a chat template."""
    folder = tmp_path_factory.mktemp("dense")
    tiny_dense("llama", eos_token_id=256, bos_token_id=None).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def mixture(dense: Path) -> Path:
    """A GPT-MoE of that Llama."""
    options = UpcycleOptions(experts=2, experts_last=3, last=1, drop_ratio=0.5)
    conversion.upcycle(str(dense), dense.with_name("mixture"), options, dtype="float32")
    return dense.with_name("mixture")


def run_over(folder: Path, base: Path, *settings: str, without: str = "", **options: Any) -> Outcome:
    """A run of six steps that continues `base`, into the artifact `folder / "out"`."""
    table = recipe_table(folder)
    table["model"] = {"start": "continue", "base": str(base)}
    table["output"] = {"folder": str(folder / "out"), "dtype": "float32"}
    table.pop(without, None)
    return pretrain(recipe_of(with_settings(table, settings)), **options)


def changed(base: Path, out: Path) -> set[str]:
    """Names of the tensors that training changed."""
    before, after = load_plain(base).state_dict(), load_plain(out).state_dict()
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name].float(), after[name].float())}


def test_a_stock_dense_model_is_trained_and_stays_one(dense: Path, tmp_path: Path) -> None:
    outcome = run_over(tmp_path, dense)
    assert outcome.artifacts[0].manifest.architecture.model_type == "llama"
    names = changed(dense, tmp_path / "out")
    assert "model.layers.0.mlp.up_proj.weight" in names
    lines = lines_of(tmp_path / "run")
    assert lines[-1]["loss"] < lines[0]["loss"]


def test_upcycling_is_a_run_of_its_own(dense: Path, tmp_path: Path) -> None:
    outcome = run_over(tmp_path, dense, "model.start=upcycle", "model.upcycle.experts=2", "run.stage=dapt")
    manifest = outcome.artifacts[0].manifest
    assert (manifest.lineage.operation, manifest.lineage.base) == ("dapt", str(dense))
    assert manifest.architecture.experts_per_layer == (0, 4)


def test_experts_alone_change_nothing_else(mixture: Path, tmp_path: Path) -> None:
    run_over(tmp_path, mixture, "tuning.part=experts")
    assert changed(mixture, tmp_path / "out") == {
        "model.layers.1.mlp.experts.gate_up_proj",
        "model.layers.1.mlp.experts.down_proj",
    }
    assert all("experts" in line and line["router_loss"] == 0 for line in lines_of(tmp_path / "run"))


def test_low_rank_updates_are_merged_and_resume_exactly(mixture: Path, tmp_path: Path) -> None:
    settings = ["tuning.part=lora", "tuning.lora.rank=2"]
    run_over(tmp_path / "whole", mixture, *settings)
    names = changed(mixture, tmp_path / "whole" / "out")
    assert "model.layers.1.mlp.experts.gate_up_proj" in names
    assert "model.layers.0.self_attn.q_proj.weight" in names
    assert not any("norm" in name or "embed" in name or ".gate." in name for name in names)

    def stop(line: Any) -> None:
        if line["step"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_over(tmp_path / "parts", mixture, *settings, report=stop)
    assert run_over(tmp_path / "parts", mixture, *settings).resumed_at == 2
    assert lines_of(tmp_path / "parts" / "run") == lines_of(tmp_path / "whole" / "run")
    first, second = (load_plain(tmp_path / name / "out").state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_examples_are_learnt_by_their_answers(mixture: Path, tmp_path: Path) -> None:
    path = tmp_path / "examples.jsonl"
    lines = [{"prompt": f"{n} + {n} = ", "response": f"{2 * n}。"} for n in range(40)]
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    settings = ["run.stage=sft", f'examples.paths=["{path}"]']
    outcome = run_over(tmp_path, mixture, *settings, without="text")
    assert outcome.artifacts[0].manifest.lineage.operation == "sft"
    measured = lines_of(tmp_path / "run")
    assert all(line["targets"] < 0.7 * line["tokens"] for line in measured)
    assert measured[-1]["loss"] < measured[0]["loss"]


def test_sources_are_prepared_and_their_held_out_part_is_measured(mixture: Path, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    for number in range(12):
        write_corpus(tmp_path / "texts", characters=700, seed=number)
    table = f'[{{name = "words", paths = ["{tmp_path / "texts"}"]}}]'
    settings = [f"data.sources={table}", f"data.folder={tmp_path / 'data'}", "data.held_out=0.2"]
    settings += ["data.clean=false", "data.dedup=false", "data.mask=false"]
    outcome = run_over(tmp_path, mixture, *settings, without="text")
    assert outcome.figures.keys() == {"words.bits_per_byte", "words.loss"}
    assert outcome.figures["words.bits_per_byte"] > 0
    prepared = [f"prepared.folder={tmp_path / 'data'}", f"run.folder={tmp_path / 'second'}"]
    again = run_over(tmp_path, mixture, *prepared, f"output.folder={tmp_path / 'out2'}", without="text")
    assert again.figures == outcome.figures


def test_stages_and_parts_that_contradict_the_rest_are_refused(mixture: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="the stage 'sft' belong together"):
        run_over(tmp_path, mixture, "run.stage=sft")
    with pytest.raises(RecipeError, match="freezes weights"):
        pretrain(recipe_of(recipe_table(tmp_path, ["tuning.part=lora"])))
    with pytest.raises(RecipeError, match=r"cannot update experts that distributed\.expert_parallel=2"):
        run_over(tmp_path, mixture, "tuning.part=lora", "distributed.expert_parallel=2")
