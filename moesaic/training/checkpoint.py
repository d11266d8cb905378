"""Checkpoints of a run: a folder appears whole or not at all, every byte of it is vouched for, and no view bloats it.

    step-00000100.0/            the step, and how often the run had been rolled back
        checkpoint.json         state as JSON, and name, size and sha256 of every other file; written last
        process-0/weights/      safetensors: what this process holds of the weights
        process-0/optimizer/    … of the optimizer's moments
        process-0/pieces.json   for sharded tensors: their whole shape, and the row at which this process's part begins
        process-0/local.json    what belongs to the process alone, such as its random state

- Written beside its place, flushed to the disk, renamed. A process that is killed leaves either checkpoint, old or new.
- Each process writes the shards it holds, one tensor at a time, and reads those it needs: nobody gathers a model.
- A damaged checkpoint is passed over with a warning as long as an older one is sound.
"""

import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from moesaic.artifact.folder import hash_file
from moesaic.artifact.staging import sync_folder
from moesaic.errors import DamagedArtifactError, DamagedRunError
from moesaic.model.shards import ShardReader, ShardWriter
from moesaic.training.data.durable import storage_errors
from moesaic.training.processes import Processes

__all__ = ["Checkpoint", "CheckpointStore", "Groups"]

_log = logging.getLogger(__name__)

Groups = Mapping[str, Mapping[str, torch.Tensor]]
"""Tensors by group (`weights`, `optimizer`, …) and name; a `DTensor` stands for the part that this process holds."""

_INDEX = "checkpoint.json"
_NAME = re.compile(r"step-(\d{8,})\.(\d+)")
_VERSION = 1


class Checkpoint:
    """A sound checkpoint, opened for reading.

    Raises:
        DamagedRunError: something is missing, truncated or altered; the message says what.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        index = _read_json(folder / _INDEX)
        if index.get("version") != _VERSION:
            raise DamagedRunError(
                f"{folder / _INDEX} has version {index.get('version')!r}, this Moesaic reads {_VERSION}"
            )
        self.step: int = index["step"]
        """Optimizer steps that are done."""
        self.state: dict[str, Any] = index["state"]
        """What was saved as JSON values."""
        self.processes: int = index["processes"]
        """How many processes wrote it."""
        for name, (size, digest) in index["files"].items():
            path = folder / name
            if not path.is_file() or hash_file(path, lambda _: None) != (size, digest):
                raise DamagedRunError(f"{path} is missing or was altered since the checkpoint was written")
        self._pieces = [_read_json(folder / f"process-{rank}/pieces.json") for rank in range(self.processes)]
        self._readers: dict[str, list[ShardReader | None]] = {}

    def local(self, rank: int) -> dict[str, Any] | None:
        """What process `rank` saved of its own; None if fewer processes wrote the checkpoint."""
        return _read_json(self.folder / f"process-{rank}/local.json") if rank < self.processes else None

    def names(self, group: str) -> list[str]:
        """Names of a group's tensors."""
        return sorted({name for reader in self._opened(group) if reader is not None for name in reader.names})

    def tensor(self, group: str, name: str) -> torch.Tensor:
        """A whole tensor, put together if it is in pieces."""
        pieces = self._stored(group, name)
        whole = self._shape(group, name)
        if whole is None:
            return pieces[0][1].read(name)
        return torch.cat([reader.read(name) for _, reader in pieces]).reshape(whole)

    def part(self, group: str, name: str, start: int, rows: int) -> torch.Tensor:
        """Rows `start` to `start + rows` of a tensor, whatever pieces it is stored in; other pieces are not read."""
        pieces = self._stored(group, name)
        shape = pieces[0][1].spec(name).shape
        part, filled = torch.empty(rows, *shape[1:], dtype=pieces[0][1].spec(name).dtype), 0
        for begin, reader in pieces:
            low, high = max(start, begin), min(start + rows, begin + reader.spec(name).shape[0])
            if low < high:
                part[low - start : high - start] = reader.read(name)[low - begin : high - begin]
                filled += high - low
        if filled != rows:
            raise DamagedRunError(f"{self.folder}: {group} {name!r} lacks some of its rows {start} to {start + rows}")
        return part

    def _stored(self, group: str, name: str) -> list[tuple[int, ShardReader]]:
        """First row of every piece and where it is, in order of rows; a tensor in one piece begins at 0."""
        held = []
        for rank, reader in enumerate(self._opened(group)):
            if reader is not None and name in reader.names:
                _, start = self._pieces[rank].get(f"{group}/{name}", (None, 0))
                held.append((start, rank, reader))
        if not held:
            raise DamagedRunError(f"{self.folder} has no {group} {name!r}: it belongs to another model or optimizer")
        return [(start, reader) for start, _, reader in sorted(held, key=lambda item: item[:2])]

    def _shape(self, group: str, name: str) -> list[int] | None:
        found = [pieces[f"{group}/{name}"][0] for pieces in self._pieces if f"{group}/{name}" in pieces]
        return found[0] if found else None

    def _opened(self, group: str) -> list[ShardReader | None]:
        if group not in self._readers:
            folders = [self.folder / f"process-{rank}/{group}" for rank in range(self.processes)]
            self._readers[group] = [ShardReader(folder) if folder.is_dir() else None for folder in folders]
        return self._readers[group]


class CheckpointStore:
    """The checkpoints of one run.

    Args:
        folder: made if it is not there.
        processes: who writes and reads together.
        keep: how many are kept; older ones are removed once a new one is safe.
    """

    def __init__(self, folder: Path, processes: Processes, *, keep: int) -> None:
        self.folder = folder
        self.processes = processes
        self.keep = keep

    def save(
        self, step: int, rollbacks: int, groups: Groups, *, state: Mapping[str, Any], local: Mapping[str, Any]
    ) -> Path:
        """Write a checkpoint; `state` is the first process's, `local` each process's own.

        Raises:
            StorageError: the disk is full or may not be written. What was there before stays.
        """
        final = self.folder / f"step-{step:08d}.{rollbacks}"
        staging = self.folder / f".{final.name}.partial"
        with storage_errors(final):
            if self.processes.is_first:
                shutil.rmtree(staging, ignore_errors=True)
                staging.mkdir(parents=True)
            self.processes.wait()
            records = self._write_own(staging, groups, local)
            files = {name: item for part in self.processes.gathered(records) for name, item in part.items()}
            if self.processes.is_first:
                index = {
                    "version": _VERSION,
                    "step": step,
                    "processes": self.processes.size,
                    "state": dict(state),
                    "files": files,
                }
                _write_json(staging / _INDEX, index)
                for path in (*(item for item in staging.rglob("*") if item.is_dir()), staging):
                    sync_folder(path)
                _replace(staging, final)
                sync_folder(self.folder)
                self._prune()
        self.processes.wait()
        return final

    @property
    def is_empty(self) -> bool:
        """Whether there is no complete checkpoint at all."""
        return not self.folder.is_dir() or not self._found()

    def latest(self, warn: Callable[[str], None]) -> Checkpoint | None:
        """The newest sound checkpoint; None if there is none at all.

        `warn` is told of every damaged one that is passed over. Raises `DamagedRunError` if all of them are damaged.
        """
        problems = []
        found = self._found() if self.folder.is_dir() else []
        for path in found:
            try:
                return Checkpoint(path)
            except (DamagedRunError, DamagedArtifactError, KeyError, TypeError, ValueError) as error:
                problems.append(f"{path.name}: {error}")
                warn(f"checkpoint {path.name} is damaged and passed over ({error})")
        if found:
            raise DamagedRunError(
                f"none of the checkpoints in {self.folder} is sound ({'; '.join(problems)}): "
                "restore one from a copy, or remove the run's folder to begin anew"
            )
        return None

    def _found(self) -> list[Path]:
        """Complete checkpoints, newest first."""
        matches = [(match, path) for path in self.folder.iterdir() if (match := _NAME.fullmatch(path.name))]
        return [path for _, path in sorted(matches, key=lambda item: (int(item[0][2]), int(item[0][1])), reverse=True)]

    def _prune(self) -> None:
        for old in self._found()[self.keep :]:
            # Renamed first: a process that dies while it removes leaves no half checkpoint under a good name.
            hidden = old.with_name(f".{old.name}.old")
            shutil.rmtree(hidden, ignore_errors=True)
            old.rename(hidden)
            shutil.rmtree(hidden, ignore_errors=True)

    def _write_own(self, staging: Path, groups: Groups, local: Mapping[str, Any]) -> dict[str, tuple[int, str]]:
        """This process's tensors and state; returns size and digest of every file, seen safely on the disk."""
        mine = staging / f"process-{self.processes.rank}"
        mine.mkdir()
        pieces: dict[str, Any] = {}
        for group, tensors in groups.items():
            held = [item for name, tensor in tensors.items() if (item := self._held(name, tensor)) is not None]
            if held:
                (mine / group).mkdir()
                with ShardWriter(mine / group) as writer:
                    for name, tensor, piece in held:
                        writer.write(name, tensor)
                        if piece is not None:
                            pieces[f"{group}/{name}"] = piece
        _write_json(mine / "pieces.json", pieces)
        _write_json(mine / "local.json", dict(local))
        paths = [path for path in mine.rglob("*") if path.is_file()]
        return {path.relative_to(staging).as_posix(): hash_file(path, lambda _: None, sync=True) for path in paths}

    def _held(self, name: str, tensor: torch.Tensor) -> tuple[str, torch.Tensor, tuple[list[int], int] | None] | None:
        """What this process writes of a tensor: its shard, all of it (the first process), or nothing."""
        if isinstance(tensor, DTensor) and tensor.dim() and not all(p.is_replicate() for p in tensor.placements):
            local = tensor.to_local()
            _, offset = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
            return (name, local, (list(tensor.shape), int(offset[0]))) if local.numel() else None
        whole = tensor.to_local() if isinstance(tensor, DTensor) else tensor
        return (name, whole, None) if self.processes.is_first else None


def _replace(staging: Path, final: Path) -> None:
    """Give a complete folder its name; a checkpoint of the same step, which a repeated step wrote, makes room."""
    if final.exists():
        hidden = final.with_name(f".{final.name}.old")
        shutil.rmtree(hidden, ignore_errors=True)
        final.rename(hidden)
        staging.rename(final)
        shutil.rmtree(hidden, ignore_errors=True)
    else:
        staging.rename(final)


def _write_json(path: Path, value: Any) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DamagedRunError(f"{path} cannot be read ({error})") from error
