"""`python -m benchmarks.training`: what the techniques of training are worth, on models that this machine can train.

    python -m benchmarks.training --data ../shared/data --json out.json
    python -m benchmarks.training --quick                     a first look, without reliable figures
    python -m benchmarks.training --only dedup,dsir           some of the experiments
    python -m benchmarks.training --rerun router/margin/3     one cell once more

It runs unattended and in parts: each cell, one (experiment, variant, seed), runs in a process of its own and keeps its
result below --work with its date. The same command goes on where it was stopped, and reports what there is; a finished
cell is not run again unless --rerun names it. Without --data the texts are Python's own documentation.
"""

import argparse
import fcntl
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from benchmarks.report import Claim, Report, ResultTable, command_line, describe_machine, describe_versions
from benchmarks.training_cells import CellRunner, Found, ResultStore
from benchmarks.training_experiment import EXPERIMENTS, Scope, experiment_named
from moesaic.server.engine.hardware import Machine

__all__ = ["cell_table", "main"]

_MODULE = "benchmarks.training"


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write; 0 when everything was measured, whether or not the claims hold."""
    parser = _parser()
    options = parser.parse_args(arguments)
    names = _chosen(parser, options.only)
    if options.data is not None and not options.data.is_dir():
        parser.error(f"--data {options.data}: there is no such folder")
    for name in options.rerun:
        if name.count("/") != 2 or name.partition("/")[0] not in names:
            parser.error(f"--rerun {name}: give EXPERIMENT/VARIANT/SEED of {', '.join(names)}, as progress lines do")
    console = Console(stderr=True)
    began = time.monotonic()

    def notice(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:6.0f} s[/dim]  {text}", highlight=False)

    described = describe_machine(Machine.detect())
    notice(f"{described['cpu']}, {described['threads']} threads, load average {described['load_average']}")
    scope = Scope(quick=options.quick, data=options.data)
    claims: list[Claim] = []
    tables: dict[str, ResultTable] = {}
    cells: list[Found] = []
    with _locked(options.work, parser.error):
        store = ResultStore(options.work)
        context = {"work": str(options.work), "data": None if options.data is None else str(options.data)}
        runner = CellRunner(store, notice, context=context)
        for name in names:
            notice(name)
            found = _find(name, scope, runner, store, [cell for cell in options.rerun if cell.startswith(f"{name}/")])
            if not found:
                notice(f"{name}: nothing was measured; what it needs of --data is not there, or its cells failed")
            experiment = experiment_named(name)
            claims += experiment.claims(found)
            tables |= experiment.tables(found)
            cells += found
    report = Report(
        machine=described,
        command=command_line(_MODULE, arguments),
        versions=describe_versions(),
        claims=tuple(claims),
        tables=tables | {"Cells": cell_table(cells)},
    )
    report.show(Console(width=None if sys.stdout.isatty() else 160))
    if options.json:
        report.write(options.json)
        notice(f"written to {options.json}")
    if runner.failed:
        notice(f"FAILED cells: {', '.join(runner.failed)}; their logs lie in {options.work / 'cells'}")
    return 1 if runner.failed else 0


def _find(name: str, scope: Scope, runner: CellRunner, store: ResultStore, rerun: list[str]) -> list[Found]:
    """Run the cells of an experiment until it asks for no more, and give all their results."""
    experiment = experiment_named(name)
    found: list[Found] = []
    while True:
        cells = experiment.cells(scope, found)
        ran = runner.run(cells, rerun=rerun)
        rerun = [cell for cell in rerun if cell not in {each.name for each in cells}]
        results = [store.newest(cell) for cell in cells]
        found = [result for result in results if result is not None]
        later = experiment.cells(scope, found)
        if [(cell.name, cell.digest) for cell in later] == [(cell.name, cell.digest) for cell in cells] or (
            not ran and len(found) < len(cells)
        ):
            return found


def cell_table(cells: Sequence[Found]) -> ResultTable:
    """Of each experiment, what its figures stem from: they may have been measured on several days."""
    rows = []
    for name in dict.fromkeys(found.cell.experiment for found in cells):
        own = [found for found in cells if found.cell.experiment == name]
        dates, commits = sorted(found.date for found in own), sorted({found.commit for found in own})
        minutes = sum(found.seconds for found in own) / 60
        rows.append((name, len(own), round(minutes, 1), dates[0], dates[-1], ", ".join(commits)))
    columns = ("experiment", "cells", "minutes", "first", "last", "commits")
    return ResultTable(columns=columns, rows=tuple(rows), note="Minutes of all cells together, side by side or not.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m {_MODULE}", description="Benchmark of training.")
    parser.add_argument("--json", type=Path, help="write the report to this file")
    parser.add_argument("--data", type=Path, default=_data_folder(), help="folder of data sets: lm/, law/, qa/")
    parser.add_argument("--work", type=Path, default=Path("build/bench-training"), help="folder that keeps the results")
    parser.add_argument("--only", default=",".join(EXPERIMENTS), help="experiments to run, separated by commas")
    parser.add_argument("--rerun", action="append", default=[], metavar="CELL", help="run this cell once more")
    parser.add_argument("--quick", action="store_true", help="small settings for a first look")
    return parser


def _chosen(parser: argparse.ArgumentParser, only: str) -> list[str]:
    names = [name for name in only.split(",") if name]
    if not names or (unknown := [name for name in names if name not in EXPERIMENTS]):
        parser.error(f"--only {only}: choose some of {', '.join(EXPERIMENTS)}" + (f", not {unknown}" if names else ""))
    return names


def _data_folder() -> Path | None:
    """Data sets that lie next to the checkout, if they do."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    return folder if folder.is_dir() else None


@contextmanager
def _locked(work: Path, refuse: Callable[[str], object]) -> Iterator[None]:
    """Two of these in one folder would run the same cells."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            refuse(f"--work {work}: another benchmark runs there; wait for it, or name another folder")
        yield


if __name__ == "__main__":
    sys.exit(main())
