"""Cells run once, in processes of their own, and what they found is kept; a failure stops no other cell."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks import training, training_cells
from benchmarks.training_cells import Cell, CellRunner, ResultStore

# What stands in for a cell's process: it notes that it ran, how many did at once, and fails if it is told to. Where it
# is to meet others it waits until they have begun, however long they take to start.
PROCESS = """
import json, sys, time
from pathlib import Path
from benchmarks.training_cells import Cell, ResultStore
plan = json.loads(Path(sys.argv[1]).read_text())
cell, work = Cell(**plan["cell"]), Path(plan["work"])
mark = work / f"running-{cell.variant}"
mark.touch()
beside = len(list(work.glob("running-*")))
(work / f"begun-{cell.variant}").touch()
ends = time.monotonic() + 60
while not all((work / f"begun-{other}").exists() for other in cell.settings["meets"]) and time.monotonic() < ends:
    time.sleep(0.01)
time.sleep(0.4)
beside = max(beside, len(list(work.glob("running-*"))))
mark.unlink()
if cell.settings.get("fails"):
    sys.exit("no luck")
figures = {"beside": beside, "threads": plan["threads"], "value": cell.settings["value"]}
ResultStore(work).write(cell, figures, seconds=0.1, versions={})
"""


def cell(variant: str, *, seed: int = 0, alone: bool = False, **settings: Any) -> Cell:
    return Cell(
        experiment="test", variant=variant, seed=seed, alone=alone, settings={"value": 1, "meets": ()} | settings
    )


def runner(work: Path, notices: list[str]) -> CellRunner:
    return CellRunner(
        ResultStore(work),
        notices.append,
        context={"work": str(work)},
        command=(sys.executable, "-c", PROCESS),
        cores=2,
    )


def figures(work: Path, wanted: Cell) -> Mapping[str, Any]:
    found = ResultStore(work).newest(wanted)
    assert found is not None
    return found.figures


def test_cells_run_side_by_side_or_alone_and_once(tmp_path: Path) -> None:
    cells, notices = [cell("a", meets="ab"), cell("b", meets="ab"), cell("c", alone=True)], list[str]()
    assert runner(tmp_path, notices).run(cells) == 3
    assert [figures(tmp_path, each)["threads"] for each in cells] == [1, 1, 2]
    assert figures(tmp_path, cells[2])["beside"] == 1
    assert max(figures(tmp_path, each)["beside"] for each in cells[:2]) == 2
    assert notices[0].startswith("3 cells to run, about ")
    assert notices[-1].startswith("3 of 3: test/c/0, ")
    assert runner(tmp_path, notices).run(cells) == 0


def test_other_settings_are_another_cell_and_a_rerun_adds_a_result(tmp_path: Path) -> None:
    runner(tmp_path, []).run([cell("a")])
    assert ResultStore(tmp_path).newest(cell("a", value=2)) is None
    assert runner(tmp_path, []).run([cell("a", value=2)]) == 1
    assert runner(tmp_path, []).run([cell("a"), cell("b")], rerun=["test/a/0"]) == 2
    assert [figures(tmp_path, cell("a", value=value))["value"] for value in (1, 2)] == [1, 2]
    kept = sorted((tmp_path / "results/test/a-0").glob("*.json"))
    assert [json.loads(path.read_text())["settings"]["value"] for path in kept] == [1, 2, 1]


def test_a_cell_that_fails_stops_no_other_and_is_named_with_its_log(tmp_path: Path) -> None:
    notices = list[str]()
    made = runner(tmp_path, notices)
    cells = [cell("a", fails=True), cell("b")]
    made.run(cells)
    assert made.failed == ["test/a/0"]
    assert any("FAILED test/a/0" in notice and "no luck" in notice for notice in notices)
    assert ResultStore(tmp_path).newest(cells[0]) is None
    assert figures(tmp_path, cells[1])["value"] == 1
    assert made.run(cells) == 0, "a cell is tried once by a runner"


def test_the_newest_result_counts(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    for value in (1, 2, 3):
        store.write(cell("a"), {"value": value}, seconds=1, versions={})
    found = store.newest(cell("a"))
    assert found is not None
    assert (found.figures["value"], found.seconds) == (3, 1)
    assert found.date.startswith("20")


def test_estimates_follow_what_cells_took(tmp_path: Path) -> None:
    made = CellRunner(ResultStore(tmp_path), print, context={}, cores=2)
    cells = [cell(name) for name in "abcd"] + [cell("e", alone=True)]
    assert made._left(cells) == 4 * 60 / 2 + 60
    made._expected, made._took = 60, 120
    assert made._left(cells) == 2 * (4 * 60 / 2 + 60)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "dedup,poems"], "choose some of dedup, dsir"),
        (["--only", ""], "choose some of dedup, dsir"),
        (["--rerun", "margin"], "give EXPERIMENT/VARIANT/SEED"),
        (["--only", "dsir", "--rerun", "router/margin/3"], "give EXPERIMENT/VARIANT/SEED of dsir"),
        (["--data", "nowhere"], "there is no such folder"),
    ],
)
def test_senseless_options_are_refused(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        training.main(arguments)
    assert said in capsys.readouterr().err


def test_two_benchmarks_do_not_share_a_folder(tmp_path: Path) -> None:
    refused = list[str]()
    with training._locked(tmp_path, refused.append), training._locked(tmp_path, refused.append):
        pass
    assert len(refused) == 1
    assert "another benchmark runs there" in refused[0]


def test_names_of_cells_have_folders_of_their_own(tmp_path: Path) -> None:
    store = training_cells.ResultStore(tmp_path)
    folders = {store.folder(each) for each in (cell("a"), cell("a", seed=1), cell("b"), cell("a", value=2))}
    assert len(folders) == 4


def test_the_report_says_when_and_on_which_code_cells_were_measured(tmp_path: Path) -> None:
    store, cells = ResultStore(tmp_path), [cell("a"), cell("b")]
    for each, commit in zip(cells, ("beef", "cafe"), strict=True):
        store.write(each, {}, seconds=90, versions={"commit": commit})
    found = [result for each in cells if (result := store.newest(each)) is not None]
    (row,) = training.cell_table(found).rows
    assert row == ("test", 2, 3.0, found[0].date, found[1].date, "beef, cafe")
