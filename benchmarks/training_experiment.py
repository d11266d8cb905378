"""What an experiment of `benchmarks.training` is, and their names.

An experiment is a module `benchmarks.training_NAME` with the functions of `Experiment`. It is asked for cells again
whenever all of them have results, so that later cells may depend on what earlier ones found.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from benchmarks.report import Claim, ResultTable
from benchmarks.training_cells import Cell, Found

__all__ = ["EXPERIMENTS", "Experiment", "Place", "Scope", "experiment_named"]

EXPERIMENTS = ("dedup", "dsir", "resume", "step", "router", "dapt", "sft")
"""Their names, the quick ones first."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """How much is measured, and with what."""

    quick: bool
    """A few minutes for a first look, instead of figures to rely on."""
    data: Path | None
    """Folder of data sets."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a cell runs."""

    folder: Path
    """Its own; kept until it has a result, and longer."""
    work: Path
    """Of the whole benchmark."""
    data: Path | None
    """Folder of data sets."""
    threads: int
    """That it may use."""


class Experiment(Protocol):
    """The functions of such a module."""

    def cells(self, scope: Scope, found: Sequence[Found]) -> list[Cell]:
        """The cells that can be run, given what was found so far; those with results among them."""
        ...

    def run(self, cell: Cell, place: Place) -> dict[str, Any]:
        """Measure one, in its own process; the figures are JSON values."""
        ...

    def claims(self, found: Sequence[Found]) -> list[Claim]:
        """What it claims; a claim whose cells have no results has no value."""
        ...

    def tables(self, found: Sequence[Found]) -> Mapping[str, ResultTable]:
        """Figures beside each other."""
        ...


def experiment_named(name: str) -> Experiment:
    """The module of an experiment."""
    if name not in EXPERIMENTS:
        raise ValueError(f"there is no experiment {name!r}: choose some of {', '.join(EXPERIMENTS)}")
    return cast(Experiment, importlib.import_module(f"benchmarks.training_{name}"))
