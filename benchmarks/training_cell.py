"""The process of one cell of `benchmarks.training`: `python -m benchmarks.training_cell CELL.json`."""

import contextlib
import json
import signal
import sys
import time
from pathlib import Path

from benchmarks.training_cells import Cell, ResultStore
from benchmarks.training_experiment import Place, experiment_named

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run the cell that a file describes, and keep what it finds."""
    (path,) = sys.argv[1:] if arguments is None else arguments
    plan = json.loads(Path(path).read_text(encoding="utf-8"))
    cell, work = Cell(**plan["cell"]), Path(plan["work"])
    store = ResultStore(work)
    began = time.monotonic()
    place = Place(
        folder=store.folder(cell),
        work=work,
        data=None if plan["data"] is None else Path(plan["data"]),
        threads=plan["threads"],
    )
    _die_with_parent()
    figures = experiment_named(cell.experiment).run(cell, place)
    # Here, and not at the top: it imports what most cells do not need.
    from benchmarks.report import describe_versions

    store.write(cell, figures, seconds=time.monotonic() - began, versions=describe_versions())
    return 0


def _die_with_parent() -> None:
    """A cell whose benchmark was killed must not go on beside the next one."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
