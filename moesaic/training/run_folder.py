"""The folder of a run: who may write to it, what it was started with, and its metrics.

    recipe.json        the whole recipe with every default, as it was started
    start/             configuration, tokenizer and licence of the model that training began with
    checkpoints/       see `moesaic.training.checkpoint`
    metrics.jsonl      one line per optimizer step and per evaluation
    events.jsonl       starts, resumes, skipped steps, rollbacks, damaged checkpoints
    plots/             PNG files

A lock (`flock`) keeps a second process out; the system drops it when its holder ends in whatever way.
"""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from moesaic.errors import DamagedRunError, RecipeError, RunBusyError
from moesaic.training.data.durable import made_folder, storage_errors, written_file, written_json

__all__ = ["RunFolder"]

_FREE_TO_CHANGE = (
    "run.folder",
    "run.checkpoint_every",
    "run.keep_checkpoints",
    "run.plot_every",
    "output.",
    "evaluation.",
    "distributed.",
    "precision.activation_checkpointing",
)
"""Beginnings of keys that do not change what a step computes: a run may go on with other values."""


class RunFolder:
    """A run's folder; the process that holds its lock writes metrics and events."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.start = path / "start"
        self.metrics = path / "metrics.jsonl"
        self.events = path / "events.jsonl"
        self.plots = path / "plots"
        self._recipe = path / "recipe.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder and keep others out for the block; what a killed holder left half written is cut off.

        Raises:
            RunBusyError: another process holds it.
            StorageError: it cannot be made.
        """
        made_folder(self.path)
        with storage_errors(self.path), (self.path / ".lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RunBusyError(
                    f"another process is training in {self.path}: wait for it, or choose another folder"
                ) from error
            for lines in (self.metrics, self.events):
                _cut_torn_line(lines)
            yield

    @property
    def was_started(self) -> bool:
        """Whether a run has begun here."""
        return self._recipe.is_file()

    def begin(self, recipe: Mapping[str, Any]) -> None:
        """Note what the run is started with."""
        made_folder(self.checkpoints)
        written_json(self._recipe, dict(recipe))

    def check_same(self, recipe: Mapping[str, Any]) -> None:
        """Raise `RecipeError` if a key that decides what a step computes differs from what the run began with."""
        try:
            begun = json.loads(self._recipe.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DamagedRunError(f"{self._recipe} cannot be read ({error}): restore it, or begin anew") from error
        keys = sorted(key for key in begun.keys() | recipe.keys() if not key.startswith(_FREE_TO_CHANGE))
        changed = [key for key in keys if begun.get(key) != recipe.get(key)]
        if changed:
            differences = "; ".join(f"{key} was {begun.get(key)!r}, is {recipe.get(key)!r}" for key in changed)
            raise RecipeError(
                f"{self.path} holds a run of another recipe ({differences}): give its recipe to go on, "
                "--resume changed to go on with the new one all the same, or another run.folder to begin anew"
            )

    def note(self, event: str, **details: Any) -> None:
        """Add a line to the events."""
        line = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "event": event, **details}
        self._append(self.events, line)

    def measure(self, line: Mapping[str, Any]) -> None:
        """Add a line to the metrics."""
        self._append(self.metrics, line)

    def measured(self) -> list[dict[str, Any]]:
        """All whole lines of the metrics; a line that a killed process left half written is not one."""
        lines = []
        if self.metrics.is_file():
            for text in self.metrics.read_bytes().split(b"\n")[:-1]:
                try:
                    lines.append(json.loads(text))
                except ValueError as error:
                    raise DamagedRunError(f"{self.metrics} has a damaged line ({error}): remove that line") from error
        return lines

    def forget_after(self, step: int) -> None:
        """Remove the metrics of steps that are going to be computed again: those after the first `step` steps."""
        kept = [line for line in self.measured() if line["step"] <= step]
        with written_file(self.metrics) as file:
            for line in kept:
                file.write(json.dumps(line).encode() + b"\n")

    def _append(self, path: Path, line: Mapping[str, Any]) -> None:
        with storage_errors(path), path.open("ab") as file:
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")


def _cut_torn_line(path: Path) -> None:
    """End a file of lines at its last whole one: what is appended to half a line could be read by no one."""
    if path.is_file():
        with path.open("r+b") as file:
            content = file.read()
            file.truncate(content.rfind(b"\n") + 1)
