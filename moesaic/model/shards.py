"""Model weights on disk, one tensor at a time: `ShardReader` and `ShardWriter` over safetensors files.

- Memory: a read costs the tensor that is read, a write the tensor that is written. Nothing is mapped, so the resident
  size of the process says the same.
- The writer does not know in advance what will come. It keeps `header_bytes` free at the start of each file, streams
  the data, and fills the header in last, padded with blanks (the format allows them).
- The format forbids holes, and readers need each tensor at a multiple of its element size. So tensors whose size is no
  multiple of 8 bytes (small biases as a rule) wait in memory and go to the end of the shard, widest elements first.
- A file that is not yet complete has a hidden name that no loader looks for.
"""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import torch
from torch import Tensor

from moesaic.errors import DamagedArtifactError, InputError
from moesaic.model.safetensors_header import DTYPE_NAMES, Placement, TensorSpec, encode_header, read_header

__all__ = ["INDEX_NAME", "SINGLE_NAME", "ShardReader", "ShardWriter", "TensorSource", "TensorSpec"]

SINGLE_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"

_ALIGNMENT_BYTES = 8
_ENTRY_BYTES = 192  # more than the JSON around a name can take: type, shape and two offsets of up to 20 digits


class TensorSource(Protocol):
    """Anything that hands out named tensors one at a time: a `ShardReader`, a `QuantizedReader`, a dense base model."""

    @property
    def names(self) -> list[str]:
        """All tensor names."""
        ...

    def spec(self, name: str) -> TensorSpec:
        """Element type and shape, without reading the tensor."""
        ...

    def read(self, name: str) -> Tensor:
        """The tensor, in memory of its own."""
        ...


class ShardReader:
    """The tensors of a folder with `model.safetensors`, or with an index and its shards.

    All headers are read and checked at construction. A shard is open only while one of its tensors is read, so a reader
    holds no resource, and several threads may share it.

    Raises:
        DamagedArtifactError: no weights, both kinds of weights, a missing, truncated or corrupt file, or an index that
            does not fit the shards; names the file and the tensor.
        UnsupportedModelError: a tensor has an unknown element type.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._homes: dict[str, tuple[Path, Placement]] = {}
        listed = _weight_map(self.folder)
        self._paths = sorted({self.folder / file for file in listed.values()}) or [self.folder / SINGLE_NAME]
        for path in self._paths:
            for name, placement in read_header(path).items():
                if name in self._homes:
                    raise DamagedArtifactError(
                        f"{path}: tensor {name} lies in {self._homes[name][0].name} as well; keep one of the two files"
                    )
                self._homes[name] = (path, placement)
        for name, file in listed.items():
            if name not in self._homes or self._homes[name][0].name != file:
                raise DamagedArtifactError(
                    f"{self.folder / INDEX_NAME}: tensor {name} is not in {file}; copy index and shards again, together"
                )

    @property
    def names(self) -> list[str]:
        """All tensor names, sorted."""
        return sorted(self._homes)

    @property
    def largest_shard_bytes(self) -> int:
        """Size of the largest weight file."""
        return max(path.stat().st_size for path in self._paths)

    def spec(self, name: str) -> TensorSpec:
        """Element type and shape of a tensor; DamagedArtifactError where it is absent."""
        return self._home(name)[1].spec

    def read(self, name: str) -> Tensor:
        """A tensor in memory of its own, on the CPU, with the element type and shape that `spec` gives."""
        path, (spec, offset) = self._home(name)
        flat = torch.empty(spec.num_bytes, dtype=torch.uint8)
        rest = flat.numpy().data
        try:
            with path.open("rb", buffering=0) as file:
                file.seek(offset)
                while rest and (count := file.readinto(rest)):
                    rest = rest[count:]
        except OSError as error:
            raise DamagedArtifactError(
                f"{path}: tensor {name} cannot be read ({error.strerror}); check the disk, then copy the file again"
            ) from error
        if rest:
            raise DamagedArtifactError(f"{path}: tensor {name} lacks its last {len(rest)} bytes; copy the file again")
        return flat.view(spec.dtype).reshape(spec.shape)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing stays open between two reads; the `with` block is for symmetry with the writer."""

    def _home(self, name: str) -> tuple[Path, Placement]:
        try:
            return self._homes[name]
        except KeyError:
            raise DamagedArtifactError(
                f"{self.folder}: there is no tensor {name} among its {len(self._homes)}; rebuild the model"
            ) from None


class ShardWriter:
    """Writes named tensors into a folder as `model.safetensors`, or as numbered shards with an index. Not thread-safe.

    Leaving the `with` block completes the files; leaving it by an exception removes them. Stock transformers and vLLM
    load the result. Disk errors come out as OSError: `ArtifactWriter` turns them into StorageError.

    Args:
        folder: an existing folder without safetensors files.
        max_shard_bytes: tensor bytes per file; a single tensor may be larger and then has a file of its own.
        header_bytes: bytes kept free for each file's header; when they are used up, the next shard begins.

    Raises:
        InputError: the folder holds weights already, a name is given twice, an element type cannot be stored.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, max_shard_bytes: int = 4 * 2**30, header_bytes: int = 2**20
    ) -> None:
        self.folder = Path(folder)
        present = sorted(path.name for path in self.folder.glob("*.safetensors*"))
        if present:
            raise InputError(f"{self.folder}: already holds {present[0]}; write into an empty folder")
        if max_shard_bytes < 1 or header_bytes < 4096:
            raise InputError(
                f"max_shard_bytes={max_shard_bytes} and header_bytes={header_bytes}: must be at least 1 and 4096"
            )
        self.max_shard_bytes = max_shard_bytes
        self.header_bytes = header_bytes
        self._specs: dict[str, TensorSpec] = {}
        self._shards: list[_OpenShard] = []
        self._done = False

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        """What was written so far."""
        return dict(self._specs)

    def write(self, name: str, tensor: Tensor) -> None:
        """Append a tensor (any device, any strides) to the current shard, or begin the next one."""
        if self._done:
            raise InputError(f"{self.folder}: the writer is closed; write {name} inside its `with` block")
        if name in self._specs or name == "__metadata__":
            raise InputError(
                f"tensor {name}: written already, or a reserved name; give each tensor one name of its own"
            )
        if tensor.dtype not in DTYPE_NAMES:
            raise InputError(
                f"tensor {name}: {tensor.dtype} cannot be stored; use one of {', '.join(DTYPE_NAMES.values())}"
            )
        spec = TensorSpec(tensor.dtype, tuple(tensor.shape))
        entry_bytes = len(json.dumps(name, ensure_ascii=False).encode()) + _ENTRY_BYTES + 20 * len(spec.shape)
        if entry_bytes > self.header_bytes // 2:
            raise InputError(
                f"tensor {name[:80]}…: a name of {len(name)} characters does not fit into the header; shorten it"
            )
        if not self._shards or not self._shards[-1].has_room(spec, entry_bytes, self.max_shard_bytes):
            self._next_shard()
        self._shards[-1].append(name, spec, tensor, entry_bytes)
        self._specs[name] = spec

    def close(self) -> None:
        """Complete the files and give them their final names."""
        if self._done:
            return
        self._done = True
        if not self._specs:
            raise InputError(f"{self.folder}: no tensor was written; a model needs at least one")
        self._shards[-1].finish()
        if len(self._shards) == 1:
            self._shards[0].path = self._shards[0].path.rename(self.folder / SINGLE_NAME)
            return
        weight_map: dict[str, str] = {}
        for number, shard in enumerate(self._shards, start=1):
            file = f"model-{number:05d}-of-{len(self._shards):05d}.safetensors"
            shard.path = shard.path.rename(self.folder / file)
            weight_map.update(dict.fromkeys(shard.entries, file))
        total = sum(spec.num_bytes for spec in self._specs.values())
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
        (self.folder / INDEX_NAME).write_text(json.dumps(index, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    def discard(self) -> None:
        """Remove everything that was written."""
        self._done = True
        for shard in self._shards:
            with contextlib.suppress(OSError):  # a full disk cannot take the last buffer, which nobody wants any more
                shard.file.close()
            shard.path.unlink(missing_ok=True)
        (self.folder / INDEX_NAME).unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()
            return
        try:
            self.close()
        except BaseException:
            self.discard()
            raise

    def _next_shard(self) -> None:
        if self._shards:
            self._shards[-1].finish()
        path = self.folder / f".model-{len(self._shards) + 1:05d}.partial"
        self._shards.append(_OpenShard(path, self.header_bytes))


class _OpenShard:
    """One file that is being written: reserved header, data so far, and the tensors that wait for the end."""

    def __init__(self, path: Path, header_bytes: int) -> None:
        self.path = path
        self.file = path.open("wb")
        self.file.write(bytes(header_bytes))
        self.entries: dict[str, tuple[TensorSpec, int]] = {}
        self._waiting: list[tuple[str, TensorSpec, Tensor]] = []
        self._header_bytes = header_bytes
        self._header_used_bytes = 64  # the length and the metadata
        self._position = 0
        self._waiting_bytes = 0

    def has_room(self, spec: TensorSpec, entry_bytes: int, max_shard_bytes: int) -> bool:
        full = self._position + self._waiting_bytes
        fits = full == 0 or full + spec.num_bytes <= max_shard_bytes
        return fits and self._header_used_bytes + entry_bytes <= self._header_bytes

    def append(self, name: str, spec: TensorSpec, tensor: Tensor, entry_bytes: int) -> None:
        self._header_used_bytes += entry_bytes
        if spec.num_bytes % _ALIGNMENT_BYTES:
            self._waiting.append((name, spec, tensor.detach().cpu().clone()))
            self._waiting_bytes += spec.num_bytes
        else:
            self._stream(name, spec, tensor)

    def finish(self) -> None:
        for name, spec, tensor in sorted(self._waiting, key=lambda waiting: -waiting[1].dtype.itemsize):
            self._stream(name, spec, tensor)
        self._waiting.clear()
        self.file.seek(0)
        self.file.write(encode_header(self.entries, space_bytes=self._header_bytes))
        self.file.close()

    def _stream(self, name: str, spec: TensorSpec, tensor: Tensor) -> None:
        flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        self.file.write(flat.numpy().data)
        self.entries[name] = (spec, self._position)
        self._position += spec.num_bytes


def _weight_map(folder: Path) -> dict[str, str]:
    """Tensor name to file name from the index; empty where the folder has a single weight file."""
    index, single = folder / INDEX_NAME, folder / SINGLE_NAME
    if index.exists() == single.exists():
        found = "both a single file and an index" if index.exists() else "neither a single file nor an index"
        raise DamagedArtifactError(f"{folder}: {found} of weights; a model has either {SINGLE_NAME} or {INDEX_NAME}")
    if single.exists():
        return {}
    try:
        listed = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise DamagedArtifactError(f"{index}: not a safetensors index ({error!r}); copy the file again") from error
    if not isinstance(listed, dict) or not listed:
        raise DamagedArtifactError(f"{index}: weight_map lists no tensor; copy the file again")
    for name, file in listed.items():
        if not isinstance(file, str) or Path(file).name != file or not file.endswith(".safetensors"):
            raise DamagedArtifactError(
                f"{index}: tensor {name} lies in {file!r}, expected the name of a .safetensors file beside the index"
            )
    return listed
