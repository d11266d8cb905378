"""Cells of a long benchmark: each is one (experiment, variant, seed), runs in a process of its own, and is kept.

- What a cell found lies below the work folder as dated JSON, results/EXPERIMENT/VARIANT-SEED/DATE.json. A cell whose
  settings have a result is not run again; a rerun adds a result, and the newest one counts.
- Cells of one thread run side by side, one for each core; those that measure time, or need all cores, run alone.
- An interrupted benchmark goes on: the cells that were running have folders of their own, in which a training run
  resumes.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["Cell", "CellRunner", "Found", "Notice", "ResultStore"]

Notice = Callable[[str], None]
_TAIL = 12
_STAMP = "%Y-%m-%dT%H-%M-%S.%f"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One measurement."""

    experiment: str
    variant: str
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Everything that its figures depend on, as JSON values."""
    alone: bool = False
    """Whether nothing else may run beside it; it then has all cores."""
    estimate_s: float = 60.0
    """How long it takes, roughly."""

    @property
    def name(self) -> str:
        """As `--rerun` takes it."""
        return f"{self.experiment}/{self.variant}/{self.seed}"

    @property
    def digest(self) -> str:
        """Of the settings: cells of one name and other settings have folders of their own."""
        return hashlib.sha256(_canonical(self.settings).encode()).hexdigest()[:12]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "experiment": self.experiment,
            "variant": self.variant,
            "seed": self.seed,
            "settings": dict(self.settings),
            "alone": self.alone,
            "estimate_s": self.estimate_s,
        }


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a cell found."""

    cell: Cell
    figures: Mapping[str, Any]
    date: str
    seconds: float
    commit: str = "unknown"
    """Of the code that was measured."""


class ResultStore:
    """Results of cells below a folder."""

    def __init__(self, work: Path) -> None:
        self._results = work / "results"
        self._cells = work / "cells"

    def folder(self, cell: Cell) -> Path:
        """Where the cell may keep what it needs to go on after an interruption."""
        return self._cells / cell.name / cell.digest

    def write(self, cell: Cell, figures: Mapping[str, Any], *, seconds: float, versions: Mapping[str, str]) -> Path:
        """Keep a result under the present date; the file appears whole or not at all."""
        now = datetime.now(UTC)
        path = self._results / cell.experiment / f"{cell.variant}-{cell.seed}" / f"{now.strftime(_STAMP)}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "cell": cell.name,
            "date": now.isoformat(timespec="seconds"),
            "seconds": round(seconds, 1),
            "versions": dict(versions),
            "settings": dict(cell.settings),
            "figures": dict(figures),
        }
        draft = path.with_name(f".{path.name}.partial")
        draft.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        draft.replace(path)
        return path

    def newest(self, cell: Cell) -> Found | None:
        """The newest result with the cell's settings; None if there is none."""
        folder = self._results / cell.experiment / f"{cell.variant}-{cell.seed}"
        wanted = _canonical(cell.settings)
        for path in sorted(folder.glob("*.json"), reverse=True):
            content = json.loads(path.read_text(encoding="utf-8"))
            if _canonical(content["settings"]) == wanted:
                return Found(
                    cell=cell,
                    figures=content["figures"],
                    date=content["date"],
                    seconds=content["seconds"],
                    commit=content["versions"].get("commit", "unknown"),
                )
        return None


class CellRunner:
    """Runs cells that have no result yet.

    Args:
        store: where results lie; the processes write there.
        command: what starts the process of a cell, without the path of the file that describes it.
        notice: told of progress.
        context: further JSON values that the processes get.
    """

    def __init__(
        self,
        store: ResultStore,
        notice: Notice,
        *,
        context: Mapping[str, Any],
        command: Sequence[str] = (sys.executable, "-m", "benchmarks.training_cell"),
        cores: int | None = None,
    ) -> None:
        self._store, self._notice, self._context = store, notice, dict(context)
        self._command, self._cores = list(command), cores or len(os.sched_getaffinity(0))
        self._expected = self._took = 0.0
        self.failed: list[str] = []
        """Names of cells whose process ended with an error; each is tried once by a runner."""

    def run(self, cells: Iterable[Cell], *, rerun: Iterable[str] = ()) -> int:
        """Run those without a result, and those named in `rerun`; returns how many were run."""
        again = set(rerun)
        due = [
            cell
            for cell in cells
            if cell.name not in self.failed and (cell.name in again or self._store.newest(cell) is None)
        ]
        beside, alone = [cell for cell in due if not cell.alone], [cell for cell in due if cell.alone]
        if due:
            self._notice(f"{len(due)} cells to run, about {_minutes(self._left(due))} min")
        done = 0
        for group, slots, threads in ((beside, self._cores, 1), (alone, 1, self._cores)):
            done = self._run_group(group, slots, threads, done, due)
        return len(due)

    def _run_group(self, group: list[Cell], slots: int, threads: int, done: int, due: list[Cell]) -> int:
        waiting, running = list(group), list[tuple[Cell, subprocess.Popen[bytes], float]]()
        try:
            while waiting or running:
                while waiting and len(running) < slots:
                    cell = waiting.pop(0)
                    running.append((cell, self._start(cell, threads), time.monotonic()))
                time.sleep(0.05)
                for entry in [each for each in running if each[1].poll() is not None]:
                    running.remove(entry)
                    done += 1
                    self._ended(*entry, done, due)
        finally:
            # Ctrl-C, or an error here: what was started is not left behind.
            for _, process, _ in running:
                process.terminate()
            for _, process, _ in running:
                process.wait()
        return done

    def _start(self, cell: Cell, threads: int) -> subprocess.Popen[bytes]:
        folder = self._store.folder(cell)
        folder.mkdir(parents=True, exist_ok=True)
        plan = folder / "cell.json"
        plan.write_text(json.dumps(self._context | {"cell": cell.to_json(), "threads": threads}), encoding="utf-8")
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        with (folder / "log.txt").open("wb") as log:
            return subprocess.Popen([*self._command, str(plan)], stdout=log, stderr=subprocess.STDOUT, env=environment)

    def _ended(self, cell: Cell, process: subprocess.Popen[bytes], began: float, done: int, due: list[Cell]) -> None:
        seconds = time.monotonic() - began
        left = due[done:]
        if process.returncode:
            self.failed.append(cell.name)
            log = (self._store.folder(cell) / "log.txt").read_text(encoding="utf-8", errors="replace").splitlines()
            self._notice(f"FAILED {cell.name} after {seconds:.0f} s: " + "\n".join(log[-_TAIL:]))
        else:
            self._expected += cell.estimate_s
            self._took += seconds
        self._notice(f"{done} of {len(due)}: {cell.name}, {seconds:.0f} s; about {_minutes(self._left(left))} min left")

    def _left(self, cells: Sequence[Cell]) -> float:
        """Seconds that cells will take, by their estimates and how true these were so far."""
        factor = self._took / self._expected if self._expected else 1.0
        beside = sum(cell.estimate_s for cell in cells if not cell.alone) / self._cores
        return factor * (beside + sum(cell.estimate_s for cell in cells if cell.alone))


def _canonical(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True, ensure_ascii=False)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f}" if seconds < 600 else f"{seconds / 60:.0f}"
