"""A full-precision copy of a quantized artifact, made once per machine, for engines without kernels for its scheme.

- The cache is a folder of artifacts, each named by the digest of the artifact that it was made of. Its lineage says the
  same; an entry that says anything else, or that is damaged, is made anew.
- A file lock per entry: of several engines that start at once, one builds and the others wait. The copy appears by one
  rename, so that a killed build leaves nothing that could be used.
- The source is hashed before it is copied: its digest is the key, so a damaged copy would be served for ever.
- The copy keeps the canary of the artifact, although its activations are not rounded to 8 bits as that expects: the
  canary's threshold has room for this, and a wrong expert costs many times more.
- Memory: one tensor at a time. torch is imported only when a copy is made; `cached_copies` is for `moesaic doctor`.
"""

import fcntl
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import moesaic
from moesaic.artifact import ArtifactWriter, Lineage, ModelArtifact
from moesaic.errors import ArtifactError, InputError, StorageError

if TYPE_CHECKING:
    import torch

    from moesaic.model.quantized import QuantizedReader

__all__ = ["CachedCopy", "Progress", "cached_copies", "default_cache_folder", "materialize"]

OPERATION = "materialize"
"""Name of the operation in the lineage of a copy."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many of its steps are done, and how many there are."""

_KEY_LETTERS = 32  # 128 bits of the digest; the lineage holds all of it
_HEADER_BYTES = 4 * 2**20  # room for headers, index and manifest


@dataclass(frozen=True, kw_only=True)
class CachedCopy:
    """One entry of the cache."""

    name: str
    """Name of the artifact that it is a copy of."""
    folder: Path
    bytes: int
    """Size on disk."""


def default_cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """`$XDG_CACHE_HOME/moesaic/materialized`, or below `~/.cache` where that is not set to an absolute path."""
    base = Path(environment.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "moesaic" / "materialized"


def cached_copies(folder: Path) -> list[CachedCopy]:
    """The sound copies in a cache folder, by name; an absent folder is an empty cache."""
    copies = []
    for entry in sorted(folder.glob("*")) if folder.is_dir() else []:
        if not entry.is_dir() or entry.name.startswith("."):
            continue
        try:
            copy = ModelArtifact.open(entry)
        except ArtifactError:  # not ours, or damaged: `materialize` will replace it
            continue
        size = sum(record.bytes for record in copy.manifest.files)
        copies.append(CachedCopy(name=copy.manifest.name, folder=entry, bytes=size))
    return sorted(copies, key=lambda copy: copy.name)


def materialize(
    artifact: ModelArtifact, cache_folder: Path | None = None, progress: Progress | None = None
) -> ModelArtifact:
    """Give the full-precision copy of a quantized artifact, making it first if the cache does not hold it.

    Args:
        artifact: the quantized artifact.
        cache_folder: where copies are kept; `default_cache_folder()` by default.
        progress: told what is being done; "wait" means that another process is building the same copy.

    Returns:
        An artifact whose matrices have the artifact's own dtype (bf16 as a rule), with the same canary and tokenizer.

    Raises:
        InputError: the artifact is not quantized.
        DamagedArtifactError: a file of the artifact does not match its digest.
        StorageError: the disk has too little room (with the bytes needed and available), or may not be written.
    """
    if artifact.manifest.quantization is None:
        raise InputError(
            f"{artifact.folder} is not quantized ({artifact.manifest.architecture.dtype}): serve it as it is"
        )

    report = progress or _silent
    cache = default_cache_folder() if cache_folder is None else cache_folder
    target = cache / artifact.digest[:_KEY_LETTERS]
    with _locked(target, report):
        copy = _existing(target, artifact)
        return _build(artifact, target, report) if copy is None else copy


def _silent(stage: str, done: int, total: int) -> None:
    """No one watches."""


@contextmanager
def _locked(target: Path, report: Progress) -> Iterator[None]:
    """Hold the lock of one entry; the lock file stays, since deleting it would let two processes hold two locks."""
    path = target.with_name(f"{target.name}.lock")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("w", encoding="ascii")
    except OSError as error:
        raise StorageError(
            f"{target.parent} cannot hold copies of models ({error.strerror}); "
            "set XDG_CACHE_HOME to a folder that may be written"
        ) from error

    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("wait", 0, 1)
            fcntl.flock(stream, fcntl.LOCK_EX)
            report("wait", 1, 1)
        yield  # closing the file releases the lock, as does the death of the process


def _existing(target: Path, artifact: ModelArtifact) -> ModelArtifact | None:
    """The copy in the cache, if there is a sound one; what else lies in its place is removed."""
    if not os.path.lexists(target):
        return None

    try:
        copy = ModelArtifact.open(target)
        lineage = copy.manifest.lineage
        if lineage.operation == OPERATION and lineage.parent == artifact.digest:
            return copy
    except (ArtifactError, InputError):  # cut off or altered since it was made, or no folder at all
        copy = None

    try:
        shutil.rmtree(target) if target.is_dir() and not target.is_symlink() else target.unlink()
    except OSError as error:
        raise StorageError(f"{target} is damaged and cannot be removed ({error.strerror}); delete it") from error

    return None


def _build(artifact: ModelArtifact, target: Path, report: Progress) -> ModelArtifact:
    from moesaic.model.quantized import QuantizedReader
    from moesaic.model.shards import ShardReader

    artifact.verify(lambda name, done, total: report("check", done, total))
    config = artifact.config()
    facts = artifact.manifest.architecture
    with ShardReader(artifact.folder) as shards:
        source = QuantizedReader(shards, config.pop("quantization_config", {}), dtype=_dtype(facts.dtype))
        _check_room(artifact, source, target.parent)
        with ArtifactWriter(target) as writer:
            _write_weights(source, writer.folder, report)
            text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
            (writer.folder / "config.json").write_text(text, encoding="utf-8")
            for name in _other_files(artifact):
                (writer.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(artifact.path(name), writer.folder / name)
            return writer.commit(
                name=f"{artifact.manifest.name}-{facts.dtype}",
                architecture=facts,
                lineage=_lineage(artifact),
                licence=artifact.manifest.licence,
                canary=artifact.manifest.canary,
            )


def _dtype(name: str) -> "torch.dtype":
    import torch

    return {"float32": torch.float32, "float16": torch.float16}.get(name, torch.bfloat16)


def _other_files(artifact: ModelArtifact) -> list[str]:
    """Everything but configuration and weights: the tokenizer, the licence, the defaults of generation."""
    weights = (".safetensors", ".safetensors.index.json")
    names = (record.name for record in artifact.manifest.files)
    return [name for name in names if name != "config.json" and not name.endswith(weights)]


def _check_room(artifact: ModelArtifact, source: "QuantizedReader", cache: Path) -> None:
    specs = (source.spec(name) for name in source.names)
    weights = sum(math.prod(spec.shape) * spec.dtype.itemsize for spec in specs)
    others = {record.name: record.bytes for record in artifact.manifest.files}
    needed = weights + sum(others[name] for name in _other_files(artifact)) + _HEADER_BYTES
    available = shutil.disk_usage(cache).free
    if available < needed:
        raise StorageError(
            f"a full-precision copy of {artifact.folder} needs {needed} bytes in {cache}, which has {available}: "
            "delete copies there, or set XDG_CACHE_HOME to a larger disk"
        )


def _write_weights(source: "QuantizedReader", folder: Path, report: Progress) -> None:
    from moesaic.model.shards import ShardWriter

    names = source.names
    with ShardWriter(folder) as writer:
        for done, name in enumerate(names, start=1):
            writer.write(name, source.read(name))
            report("unpack weights", done, len(names))


def _lineage(artifact: ModelArtifact) -> Lineage:
    former = artifact.manifest.lineage
    return Lineage(
        operation=OPERATION,
        base=former.base,
        parent=artifact.digest,
        options={"dtype": artifact.manifest.architecture.dtype},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        moesaic_version=moesaic.__version__,
        ancestors=(former,),
    )
