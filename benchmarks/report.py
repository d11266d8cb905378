"""What every benchmark gives: claims with their bars, tables, and where and how they were measured.

As JSON:

    {"date", "machine", "command", "versions",
     "claims": [{"claim", "value", "unit", "bar", "holds", "samples"}],
     "tables": {TITLE: {"columns": [...], "rows": [[...]], "note"}}}

A bar is the text of its issue: "<= 0.60", ">= 0.97", "= 1", or "reported" for a figure that only has to be there.
"""

import importlib.metadata
import json
import math
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from moesaic.server.engine.hardware import PACKAGES, Machine

__all__ = [
    "Cell",
    "Claim",
    "Report",
    "ResultTable",
    "bar_holds",
    "command_line",
    "describe_machine",
    "describe_versions",
]

_BAR = re.compile(r"(<=|>=|<|>|=)\s*(-?\d+(?:\.\d+)?)")
_EQUAL_WITHIN = 1e-9

Cell = str | float | None


def bar_holds(bar: str, value: float | None) -> bool:
    """Whether a value meets its bar; a figure that is missing, or not finite, meets none.

    Raises:
        ValueError: the bar is none of the forms above.
    """
    match = _BAR.fullmatch(bar)
    if match is None and bar != "reported":
        raise ValueError(f"bar={bar!r} must be 'reported', or <=, >=, <, > or = with a number")

    if value is None or not math.isfinite(value):
        return False

    if match is None:
        return True

    limit = float(match[2])
    outcomes = {
        "<=": value <= limit,
        ">=": value >= limit,
        "<": value < limit,
        ">": value > limit,
        "=": abs(value - limit) <= _EQUAL_WITHIN,
    }
    return outcomes[match[1]]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One figure that the project stands by."""

    claim: str
    """Its name."""
    value: float | None
    """The figure; None if it could not be measured."""
    unit: str
    bar: str
    """What its issue asks for."""
    samples: tuple[float, ...] = ()
    """What it was computed from, run by run."""

    @property
    def holds(self) -> bool:
        """Whether the value meets the bar."""
        return bar_holds(self.bar, self.value)

    def to_json(self) -> dict[str, Any]:
        """The claim as plain JSON values."""
        return {
            "claim": self.claim,
            "value": _finite(self.value),
            "unit": self.unit,
            "bar": self.bar,
            "holds": self.holds,
            "samples": [_finite(sample) for sample in self.samples],
        }


@dataclass(frozen=True, kw_only=True)
class ResultTable:
    """Figures beside each other; each row has as many cells as there are columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    """What a reader must know to read it rightly."""

    def __post_init__(self) -> None:
        """Refuse ragged rows."""
        if ragged := [row for row in self.rows if len(row) != len(self.columns)]:
            raise ValueError(f"a row needs {len(self.columns)} cells ({self.columns}), got {ragged[0]}")

    def to_json(self) -> dict[str, Any]:
        """The table as plain JSON values."""
        rows = [[_finite(cell) if isinstance(cell, float) else cell for cell in row] for row in self.rows]
        return {"columns": list(self.columns), "rows": rows, "note": self.note}


@dataclass(frozen=True, kw_only=True)
class Report:
    """The whole outcome of one benchmark."""

    machine: Mapping[str, Any]
    command: str
    versions: Mapping[str, str]
    claims: tuple[Claim, ...]
    tables: Mapping[str, ResultTable]

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values, dated now."""
        return {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": dict(self.machine),
            "command": self.command,
            "versions": dict(self.versions),
            "claims": [claim.to_json() for claim in self.claims],
            "tables": {title: table.to_json() for title, table in self.tables.items()},
        }

    def write(self, path: Path) -> None:
        """Write the JSON form; the file appears whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.partial")
        text = json.dumps(self.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
        draft.write_text(text + "\n", encoding="utf-8")
        draft.replace(path)

    def show(self, console: Console) -> None:
        """Print the tables, the claims, and plainly what failed."""
        for title, table in self.tables.items():
            console.print(_drawn(title, table), "")
        rows = tuple(
            (claim.claim, claim.value, claim.bar, "yes" if claim.holds else "NO", claim.unit) for claim in self.claims
        )
        console.print(_drawn("Claims", ResultTable(columns=("claim", "value", "bar", "holds", "unit"), rows=rows)), "")
        failed = [claim for claim in self.claims if not claim.holds]
        for claim in failed:
            found = "not measured" if claim.value is None else f"{claim.value:.4g}"
            console.print(f"FAILED {claim.claim}: {found}, must be {claim.bar}", style="bold red", highlight=False)
        if not failed:
            console.print(f"All {len(self.claims)} claims hold.", style="bold green", highlight=False)


def describe_machine(machine: Machine) -> dict[str, Any]:
    """The facts about the machine that its figures depend on, with its load at this moment."""
    return {
        "cpu": machine.cpu_model,
        "cores": len(machine.physical_cpus),
        "threads": machine.threads,
        "memory_gib": round(machine.memory_total_bytes / 2**30, 1),
        "instruction_sets": sorted(machine.instruction_sets),
        "gpus": [gpu.name for gpu in machine.gpus],
        "system": f"{platform.system()} {platform.release()}",
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }


def describe_versions() -> dict[str, str]:
    """Versions of what was measured: Python, this project with its commit, and the packages that compute."""
    found = {"python": platform.python_version(), "moesaic": importlib.metadata.version("moesaic")}
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
        found["commit"] = done.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        found["commit"] = "unknown"
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue

    return found


def command_line(module: str, arguments: Sequence[str] | None = None) -> str:
    """The command that repeats the measurement, without the path of the interpreter."""
    return shlex.join(["python", "-m", module, *(sys.argv[1:] if arguments is None else arguments)])


def _finite(value: float | None) -> float | None:
    """JSON knows neither infinity nor NaN."""
    return value if value is not None and math.isfinite(value) else None


def _drawn(title: str, table: ResultTable) -> Table:
    drawn = Table(title=title, title_justify="left", title_style="bold", caption=table.note or None)
    drawn.caption_justify = "left"
    for index, column in enumerate(table.columns):
        drawn.add_column(column, justify="left" if index == 0 else "right")
    for row in table.rows:
        drawn.add_row(*(_text(cell) for cell in row))
    return drawn


def _text(cell: Cell) -> str:
    if cell is None:
        return "-"
    return cell if isinstance(cell, str) else f"{cell:.4g}"
