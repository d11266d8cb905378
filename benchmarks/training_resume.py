"""Resuming after SIGKILL: a run is killed at a random moment, started again, and compared with one that was not.

The run prepares data, trains a mixture with every step's checkpoint, and writes an artifact; the moment of the kill is
drawn from all of it, start-up included. The same curve means that every line of the metrics is equal but for timings;
that the weights of the artifact are the same bytes is asked for as well.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import Claim, ResultTable
from benchmarks.training_cells import Cell, Found
from benchmarks.training_experiment import Place, Scope
from benchmarks.training_texts import python_topics

__all__ = ["cells", "claims", "run", "tables"]

_KILLS = 20
_KILLS_QUICK = 3
_WHOLE = "whole"
_TIMINGS = ("seconds", "tokens_per_s")
_SETTINGS = {"steps": 160, "documents": 60}  # most of the run should be training and saving
_ATTEMPTS = 5

_RECIPE = """
[run]
folder = "{folder}/run"
steps = {steps}
checkpoint_every = 2
seed = 1

[model]
start = "scratch"
tokenizer = "{tokenizer}"

[model.config]
hidden_size = 48
intermediate_size = 96
num_hidden_layers = 2
num_attention_heads = 2
num_key_value_heads = 2
max_position_embeddings = 128
num_experts_per_layer = [0, 4]
tie_word_embeddings = true
router_gate_mode = "softmax"
router_jitter = 0.01

[data]
folder = "{folder}/data"
held_out = 0.05

[[data.sources]]
name = "python"
paths = ["{texts}"]

[batch]
rows = 8
micro_rows = 4
sequence_length = 128

[router]
kind = "bias"

[evaluation]
every = 20

[output]
folder = "{folder}/artifact"
quantize = "int8"
"""


def cells(scope: Scope, found: Sequence[Found]) -> list[Cell]:
    """The run that is left alone, then one cell for every kill."""
    whole = Cell(experiment="resume", variant=_WHOLE, settings=_SETTINGS, estimate_s=40)
    done = next((each for each in found if each.cell.variant == _WHOLE), None)
    if done is None:
        return [whole]
    settings = _SETTINGS | {name: done.figures[name] for name in ("curve", "weights", "run_s", "start")}
    kills = _KILLS_QUICK if scope.quick else _KILLS
    return [
        whole,
        *(
            Cell(experiment="resume", variant="kill", seed=seed, settings=settings, estimate_s=45)
            for seed in range(kills)
        ),
    ]


def run(cell: Cell, place: Place) -> dict[str, Any]:
    """Run it whole, or kill it and go on."""
    if cell.variant == _WHOLE:
        start = _start(place.folder / "start", cell.settings["documents"])
        recipe = _recipe(place.folder / "run", start, cell.settings["steps"])
        began = time.monotonic()
        _finish(recipe)
        return {"run_s": time.monotonic() - began, "start": str(start.resolve())} | _outcome(recipe.parent)
    folder = place.folder / "run"
    share, run_s = random.Random(cell.seed).uniform(0.1, 0.98), cell.settings["run_s"]
    for _ in range(_ATTEMPTS):
        recipe = _recipe(folder, Path(cell.settings["start"]), cell.settings["steps"])
        moment, began = share * run_s, time.monotonic()
        if _killed(recipe, moment):
            break
        run_s = time.monotonic() - began  # the machine is less busy than it was
    else:
        raise RuntimeError(f"the run ended {_ATTEMPTS} times before it could be killed: run {_WHOLE} again")
    phase = _phase(folder)
    _finish(recipe)
    outcome = _outcome(folder)
    shutil.rmtree(folder)
    return {
        "killed_after_s": moment,
        "phase": phase,
        "same_curve": outcome["curve"] == cell.settings["curve"],
        "same_weights": outcome["weights"] == cell.settings["weights"],
    }


def claims(found: Sequence[Found]) -> list[Claim]:
    """The share of kills after which nothing differs."""
    kills = [each.figures for each in found if each.cell.variant == "kill"]
    samples = tuple(float(each["same_curve"] and each["same_weights"]) for each in kills)
    return [
        Claim(
            claim="resume_exact",
            value=sum(samples) / len(samples) if samples else None,
            unit="share of kills with the same curve, and the same weights",
            bar="= 1",
            samples=samples,
        )
    ]


def tables(found: Sequence[Found]) -> dict[str, ResultTable]:
    """By what the run was doing when it was killed."""
    kills = [each.figures for each in found if each.cell.variant == "kill"]
    phases = sorted({each["phase"] for each in kills})
    rows = []
    for phase in phases:
        own = [each for each in kills if each["phase"] == phase]
        rows.append(
            (phase, len(own), sum(each["same_curve"] for each in own), sum(each["same_weights"] for each in own))
        )
    columns = ("killed while", "kills", "same curve", "same weights")
    note = "SIGKILL to the whole process group at a moment drawn from the run's length."
    return {"Kills": ResultTable(columns=columns, rows=tuple(rows), note=note)} if rows else {}


def _start(folder: Path, documents: int) -> Path:
    """Texts and tokenizer, which all runs share."""
    from moesaic.training.tokenizer import TokenizerConfig, train_tokenizer

    texts = folder / "texts"
    shutil.rmtree(folder, ignore_errors=True)
    texts.mkdir(parents=True)
    chosen = python_topics()[:documents]
    for number, text in enumerate(chosen):
        (texts / f"{number:03}.txt").write_text(text, encoding="utf-8")
    train_tokenizer(chosen, folder / "tokenizer", TokenizerConfig(vocab_size=600), overwrite=True)
    return folder


def _recipe(folder: Path, start: Path, steps: int) -> Path:
    """A fresh folder with the recipe of a run in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    path = folder / "recipe.toml"
    texts, tokenizer = (str((start / name).resolve()) for name in ("texts", "tokenizer"))
    content = _RECIPE.format(folder=folder.resolve(), steps=steps, texts=texts, tokenizer=tokenizer)
    path.write_text(content, encoding="utf-8")
    return path


def _command(recipe: Path) -> list[str]:
    return [sys.executable, "-m", "moesaic.training", str(recipe)]


def _killed(recipe: Path, moment: float) -> bool:
    """Whether the run was still going when it was killed."""
    process = subprocess.Popen(
        _command(recipe), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return process.returncode == -signal.SIGKILL
    return False


def _finish(recipe: Path) -> None:
    done = subprocess.run(_command(recipe), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the run ended with {done.returncode}: {done.stderr[-800:]}")


def _phase(folder: Path) -> str:
    """What the run was doing, by what lies there."""
    if not (folder / "run" / "start" / "config.json").is_file():
        return "starting"
    if not (folder / "data" / "prepared.json").is_file():
        return "preparing data"
    if any(folder.glob("*artifact*")) or any(folder.glob(".*artifact*")):
        return "writing the artifact"
    lines = folder / "run" / "metrics.jsonl"
    return "training and saving" if lines.is_file() and lines.stat().st_size else "before the first step"


def _outcome(folder: Path) -> dict[str, str]:
    """Digests of the curve and of the weights that a run ended with."""
    lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    curve = [{name: value for name, value in line.items() if name not in _TIMINGS} for line in lines]
    weights = hashlib.sha256()
    for artifact in ("artifact", "artifact-int8"):
        for path in sorted((folder / artifact).glob("*.safetensors")):
            weights.update(path.read_bytes())
    return {
        "curve": hashlib.sha256(json.dumps(curve, sort_keys=True).encode()).hexdigest(),
        "weights": weights.hexdigest(),
    }
