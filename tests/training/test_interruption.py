"""An interrupted run goes on exactly: stopped, killed at any point, or with a damaged checkpoint."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from moesaic.errors import DamagedRunError, RecipeError
from moesaic.training.pretraining import Outcome
from tests.repository import ROOT
from tests.training.tiny_run import lines_of, one_thread, run, write_corpus


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    with one_thread():
        yield


@pytest.mark.parametrize("kind", ["adamw", "muon", "lamb", "adamw8bit"])
def test_a_run_in_two_parts_is_the_run_in_one(tmp_path: Path, kind: str) -> None:
    settings = [f"optimizer.kind={kind}", "router.kind=bias", "batch.rows=4", "batch.initial_rows=2"]
    settings += ["batch.growth_steps=4", "evaluation.every=2", f"evaluation.sets.text={write_corpus(tmp_path)}"]
    run(tmp_path / "whole", *settings)
    outcome = interrupted(tmp_path / "parts", settings, after=3)
    assert outcome.resumed_at == 2
    whole, parts = lines_of(tmp_path / "whole" / "run"), lines_of(tmp_path / "parts" / "run")
    assert parts == whole
    assert [line["tokens"] for line in whole if "loss" in line] == [64] * 4 + [128] * 2
    assert [line["step"] for line in whole if "evaluation" in line] == [2, 4, 6]


class _StoppedError(BaseException):
    """The run was stopped from outside."""


def interrupted(folder: Path, settings: list[str], *, after: int) -> Outcome:
    """A run that stops after a step and is taken up again, by another process as far as it can tell."""

    def stop(line: Any) -> None:
        if line["step"] == after and "loss" in line:
            raise _StoppedError

    with pytest.raises(_StoppedError):
        run(folder, *settings, report=stop)
    torch.manual_seed(99)
    return run(folder, *settings)


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from moesaic.training import checkpoint, run_folder, pretraining
from tests.training.tiny_run import tiny_recipe

folder = Path(sys.argv[1])

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def after(calls, function):
    left = [calls]
    def counted(*arguments, **options):
        left[0] -= 1
        if left[0] == 0:
            die()
        return function(*arguments, **options)
    return counted

def in_a_step():
    run_folder.RunFolder.measure = after(4, run_folder.RunFolder.measure)

def within_a_line():
    append = run_folder.RunFolder._append
    def half(self, path, line):
        if line.get("step") == 3:
            with path.open("ab") as file:
                file.write(b'{"step": 3, "lo')
            die()
        append(self, path, line)
    run_folder.RunFolder._append = half

def within_an_event():
    append = run_folder.RunFolder._append
    def half(self, path, line):
        if line.get("event") == "resume":
            with path.open("ab") as file:
                file.write(b'{"time": "2026-11-22T12')
            die()
        append(self, path, line)
    run_folder.RunFolder._append = half

def while_tensors_are_written():
    checkpoint.ShardWriter.write = after(60, checkpoint.ShardWriter.write)

def before_the_rename():
    checkpoint._replace = die

def before_the_index():
    checkpoint.sync_folder = after(9, checkpoint.sync_folder)

def while_old_ones_are_removed():
    remove = checkpoint.shutil.rmtree
    def halfway(path, **options):
        if Path(path).is_dir() and str(path).endswith(".old"):
            next(Path(path).rglob("*.safetensors")).unlink()
            die()
        remove(path, **options)
    checkpoint.shutil.rmtree = halfway

def before_the_first_checkpoint():
    checkpoint._replace = die

def before_the_recipe_is_noted():
    run_folder.RunFolder.begin = die

def at_the_artifact():
    pretraining.write_artifact = die

KILLS = [before_the_recipe_is_noted, before_the_first_checkpoint, in_a_step, within_a_line, within_an_event,
    while_tensors_are_written, before_the_rename, before_the_index, while_old_ones_are_removed, at_the_artifact, None]

recipe = tiny_recipe(folder, f"output.folder={folder / 'artifact'}", "run.steps=8", "router.kind=margin",
    "run.keep_checkpoints=1", f"evaluation.sets.text={sys.argv[2]}", "evaluation.every=3")
for kill in KILLS:
    child = os.fork()
    if child == 0:
        if kill is not None:
            kill()
        pretraining.pretrain(recipe)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(kill.__name__ if kill else "end", os.waitstatus_to_exitcode(status), flush=True)
"""


def test_a_run_that_is_killed_at_any_point_ends_like_one_that_was_not(tmp_path: Path) -> None:
    text = write_corpus(tmp_path, characters=500, seed=8)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "killed"), str(text)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    endings = dict(line.split() for line in done.stdout.splitlines())
    assert endings.pop("end") == "0", done.stderr
    assert set(endings.values()) == {"-9"}, done.stdout + done.stderr
    assert len(endings) == 10
    settings = [f"output.folder={tmp_path / 'whole' / 'artifact'}", "run.steps=8", "router.kind=margin"]
    settings += ["run.keep_checkpoints=1", f"evaluation.sets.text={text}", "evaluation.every=3"]
    run(tmp_path / "whole", *settings)
    assert lines_of(tmp_path / "killed" / "run") == lines_of(tmp_path / "whole" / "run")
    events = (tmp_path / "killed" / "run" / "events.jsonl").read_text(encoding="utf-8").splitlines()
    # The run began twice: a call was killed after it had noted its start, before a checkpoint was whole.
    assert [json.loads(line)["event"] for line in events].count("start") == 2
    weights = [(tmp_path / name / "artifact" / "model.safetensors").read_bytes() for name in ("killed", "whole")]
    assert weights[0] == weights[1]
    assert [path.name for path in (tmp_path / "killed" / "run" / "checkpoints").iterdir() if path.name[0] != "."] == [
        "step-00000008.0"
    ]


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    run(tmp_path)
    before = lines_of(tmp_path / "run")
    outcome = run(tmp_path)
    assert outcome.resumed_at == 6
    assert lines_of(tmp_path / "run") == before


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path: Path) -> None:
    run(tmp_path / "whole")
    _stopped_at(tmp_path / "parts", 5)
    checkpoints = tmp_path / "parts" / "run" / "checkpoints"
    _break(checkpoints / "step-00000004.0")
    warnings: list[Any] = []
    outcome = run(tmp_path / "parts", report=lambda line: warnings.append(line) if "warning" in line else None)
    assert outcome.resumed_at == 2
    assert "step-00000004.0 is damaged" in warnings[0]["warning"]
    assert lines_of(tmp_path / "parts" / "run") == lines_of(tmp_path / "whole" / "run")


def test_a_run_without_a_sound_checkpoint_is_refused(tmp_path: Path) -> None:
    _stopped_at(tmp_path, 5)
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        _break(path)
    with pytest.raises(DamagedRunError, match="none of the checkpoints"):
        run(tmp_path)


def _stopped_at(folder: Path, step: int) -> None:
    def stop(line: Any) -> None:
        if line["step"] == step:
            raise _StoppedError

    with pytest.raises(_StoppedError):
        run(folder, report=stop)


def _break(checkpoint: Path) -> None:
    path = next(checkpoint.rglob("*.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_changed_recipes_are_refused_unless_they_are_meant(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(RecipeError, match=r"run\.steps was 6, is 8"):
        run(tmp_path, "run.steps=8")
    with pytest.raises(RecipeError, match="holds a run already"):
        run(tmp_path, resume="never")
    outcome = run(tmp_path, "run.steps=8", resume="changed")
    assert (outcome.resumed_at, outcome.steps) == (6, 8)
    assert [line["step"] for line in lines_of(tmp_path / "run")] == list(range(1, 9))
