"""Stages of a preparation: each has a folder that is there whole or not at all, and says what it was made from.

A stage's key is a digest of its name, its settings and the content that it started from. Where a folder of that key is
whole, the stage is not run again: so a killed run goes on with the stage that it was in, and a changed setting runs
anew from there on only. `stage.json` is written last.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moesaic.artifact.staging import StagingFolder
from moesaic.errors import CorpusError, StorageError
from moesaic.training.data.durable import file_digest, made_folder, storage_errors, written_json

__all__ = ["RECORD_NAME", "StageResult", "run_stage", "stage_key"]

RECORD_NAME = "stage.json"
_KEY_LENGTH = 12

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """A stage that was run, now or before."""

    name: str
    folder: Path
    digest: str
    """Identity of what it made."""
    report: dict[str, Any]
    reused: bool
    """Whether it was there already."""


def stage_key(name: str, settings: Any, source: str) -> str:
    """Identity of a stage: what it does, how, and to what."""
    content = json.dumps([name, settings, source], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()


def run_stage(
    root: Path,
    name: str,
    *,
    settings: Any,
    source: str,
    work: Callable[[Path], dict[str, Any]],
    takes_up: bool = False,
) -> StageResult:
    """Run a stage if it is not there.

    Args:
        root: folder of all stages; only one process works there.
        name: name of the stage; its older folders are removed once the new one is whole.
        settings: JSON values that determine what it does.
        source: identity of what it starts from.
        work: makes the content of the folder that it is given, and returns the report.
        takes_up: whether `work` goes on by itself with what an interrupted run left in the folder.

    Raises:
        StorageError: the disk is full or may not be written.
    """
    key = stage_key(name, settings, source)
    target = root / f"{name}-{key[:_KEY_LENGTH]}"
    found = _whole(target, key)
    if found is not None:
        return StageResult(name=name, folder=target, digest=found["digest"], report=found["report"], reused=True)

    with storage_errors(target):
        if takes_up:
            report = work(made_folder(target))
            digest = _record(target, key, report)
        else:
            shutil.rmtree(target, ignore_errors=True)
            StagingFolder.remove_leftovers(target)
            staging = StagingFolder.claim(target)
            try:
                report = work(staging.path)
                digest = _record(staging.path, key, report)
                if not staging.publish():
                    raise StorageError(f"{target} was made by another process meanwhile: run again")
            finally:
                staging.discard()
        for other in root.glob(f"{name}-*"):
            if other != target:
                shutil.rmtree(other, ignore_errors=True)
    return StageResult(name=name, folder=target, digest=digest, report=report, reused=False)


def _record(folder: Path, key: str, report: dict[str, Any]) -> str:
    files = {
        str(path.relative_to(folder)): file_digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != RECORD_NAME
    }
    digest = hashlib.sha256(json.dumps([key, files]).encode()).hexdigest()
    written_json(folder / RECORD_NAME, {"key": key, "digest": digest, "files": files, "report": report})
    return digest


def _whole(folder: Path, key: str) -> dict[str, Any] | None:
    """What the record of a folder says, if the folder is what it says."""
    if not (folder / RECORD_NAME).exists():
        return None

    try:
        record: dict[str, Any] = json.loads((folder / RECORD_NAME).read_bytes())
        if record["key"] != key:
            raise CorpusError("it was made from something else")

        for name, digest in record["files"].items():
            if file_digest(folder / name) != digest:
                raise CorpusError(f"{name} was altered")
    except (OSError, ValueError, KeyError, AttributeError, CorpusError) as error:
        _log.warning("%s is damaged (%s): its stage is run again", folder, error)
        shutil.rmtree(folder, ignore_errors=True)
        return None

    return record
