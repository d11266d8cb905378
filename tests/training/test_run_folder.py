"""One process writes to a run's folder, the recipe stays the same, and no step is measured twice."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from moesaic.errors import DamagedRunError, RecipeError, RunBusyError, StorageError
from moesaic.training.run_folder import RunFolder

RECIPE = {"run.steps": 10, "run.folder": "a", "optimizer.learning_rate": 0.1, "output.folder": None}


def refused(folder: RunFolder) -> str:
    """Try to hold a folder that is held."""
    try:
        with folder.locked():
            return "it was not refused"
    except RunBusyError as error:
        return str(error)


def test_a_second_holder_is_refused_until_the_first_is_done(tmp_path: Path) -> None:
    first, second = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    with first.locked():
        busy = refused(second)
    assert "another process is training" in busy
    with second.locked():
        assert second.path.is_dir()


def test_a_dead_holder_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from moesaic.training.run_folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).locked(): os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -9
    assert refused(RunFolder(tmp_path)) == "it was not refused"


def test_a_place_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError):
        refused(RunFolder(tmp_path / "file" / "run"))


def test_another_recipe_is_refused_by_the_keys_that_differ(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    before = folder.was_started
    folder.begin(RECIPE)
    assert (before, folder.was_started) == (False, True)
    folder.check_same(RECIPE | {"run.folder": "b", "output.folder": "c", "evaluation.every": 5})
    with pytest.raises(RecipeError, match=r"optimizer\.learning_rate was 0\.1, is 0\.2.*--resume changed"):
        folder.check_same(RECIPE | {"optimizer.learning_rate": 0.2})
    with pytest.raises(RecipeError, match=r"model\.base was None, is 'x'"):
        folder.check_same(RECIPE | {"model.base": "x"})
    (tmp_path / "recipe.json").write_text("{")
    with pytest.raises(DamagedRunError):
        folder.check_same(RECIPE)


def test_metrics_of_later_steps_and_half_lines_go(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for step in (1, 2, 2, 3):
        folder.measure({"step": step, "loss": step / 3})
    with folder.metrics.open("ab") as file:
        file.write(b'{"step": 4, "lo')
    assert [line["step"] for line in folder.measured()] == [1, 2, 2, 3]
    folder.forget_after(2)
    folder.measure({"step": 3, "loss": 1.0})
    assert [(line["step"], line["loss"]) for line in folder.measured()] == [
        (1, 1 / 3),
        (2, 2 / 3),
        (2, 2 / 3),
        (3, 1.0),
    ]


def test_the_next_holder_cuts_off_what_a_killed_one_left_half_written(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.note("start", text="合同")
    folder.measure({"step": 1})
    whole = folder.events.read_bytes()
    # The kill comes between two bytes of a character, and before the first whole line of another file.
    folder.events.write_bytes(whole + whole[: whole.index("合".encode()) + 1])
    with folder.locked():
        assert folder.events.read_bytes() == whole
        folder.note("resume", step=1)
        folder.measure({"step": 2})
    events = [json.loads(line) for line in folder.events.read_text(encoding="utf-8").splitlines()]
    assert [event["event"] for event in events] == ["start", "resume"]
    assert [line["step"] for line in folder.measured()] == [1, 2]
    folder.metrics.write_bytes(b'{"st')
    with folder.locked():
        assert folder.metrics.read_bytes() == b""


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.metrics.write_bytes(b'{"step": 1}\nxx\n{"step": 2}\n')
    with pytest.raises(DamagedRunError, match="damaged line"):
        folder.measured()


def test_events_carry_a_time(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.note("start", processes=1)
    event = json.loads(folder.events.read_text())
    assert (event["event"], event["processes"]) == ("start", 1)
    assert event["time"].endswith("+00:00")
