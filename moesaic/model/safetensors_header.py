"""The header of a safetensors file: which tensor lies where. Reads it strictly, writes it into space kept free for it.

A file is 8 bytes (little-endian header length N), N bytes of JSON, then the data of all tensors without holes; blanks
may follow the JSON. We parse it ourselves, and do not map the file, so that a damaged file is refused with the name of
the file and of the tensor, and so that reading one tensor costs the memory of one tensor.

Values are little-endian on disk; a big-endian machine is not supported (neither is it by the int4 packing).
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from moesaic.errors import DamagedArtifactError, UnsupportedModelError

__all__ = ["DTYPES", "DTYPE_NAMES", "Placement", "TensorSpec", "encode_header", "read_header"]

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""The element types that can be read and written, by their names in a header."""

DTYPE_NAMES: dict[torch.dtype, str] = {dtype: name for name, dtype in DTYPES.items()}

_LENGTH_BYTES = 8
_LARGEST_HEADER_BYTES = 100_000_000  # the reference implementation refuses longer ones
_ADVICE = "copy the file again from its source, or rebuild the model"


class TensorSpec(NamedTuple):
    """What is known of a tensor before it is read."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def num_elements(self) -> int:
        """Product of the dimensions; 1 for a scalar."""
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        """Bytes of the data, in memory and on disk."""
        return self.num_elements * self.dtype.itemsize


class Placement(NamedTuple):
    """A tensor and where its first byte lies, counted from the start of the file."""

    spec: TensorSpec
    offset_bytes: int


def read_header(path: Path) -> dict[str, Placement]:
    """The tensors of one file, in file order.

    Raises:
        DamagedArtifactError: the file is missing, unreadable, truncated or longer than its header says, or the header
            is not what the format allows; names the file and, where there is one, the tensor.
        UnsupportedModelError: a tensor has an element type that PyTorch or Moesaic does not know.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little") if size >= _LENGTH_BYTES else -1
            if not 2 <= length <= min(size - _LENGTH_BYTES, _LARGEST_HEADER_BYTES):
                raise _damaged(path, f"{size} bytes with a header of {length} bytes is no safetensors file")
            text = file.read(length)
    except FileNotFoundError as error:
        raise _damaged(path, "the file is missing") from error
    except OSError as error:
        raise _damaged(path, f"the file cannot be read ({error.strerror})") from error
    try:
        entries = json.loads(text.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"the header is not JSON as safetensors writes it ({error})") from error
    if not isinstance(entries, dict):
        raise _damaged(path, "the header is not a JSON object")
    entries.pop("__metadata__", None)
    return _place(path, entries, first_byte=_LENGTH_BYTES + length, size=size)


def encode_header(entries: Mapping[str, tuple[TensorSpec, int]], *, space_bytes: int) -> bytes:
    """Length and JSON, blank-padded to `space_bytes`, for tensors at offsets counted from the end of the header."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    for name, (spec, start) in entries.items():
        header[name] = {
            "dtype": DTYPE_NAMES[spec.dtype],
            "shape": list(spec.shape),
            "data_offsets": [start, start + spec.num_bytes],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    room = space_bytes - _LENGTH_BYTES
    assert len(text) <= room, f"a header of {len(text)} bytes does not fit into {room}"
    return room.to_bytes(_LENGTH_BYTES, "little") + text.ljust(room, b" ")


def _place(path: Path, entries: dict[str, Any], *, first_byte: int, size: int) -> dict[str, Placement]:
    """Check that the tensors fill the file exactly, one after the other."""
    spans = sorted((*_span(path, name, entry), name) for name, entry in entries.items())
    placements: dict[str, Placement] = {}
    position = first_byte
    for start, stop, name in spans:
        spec = _spec(path, name, entries[name])
        if first_byte + stop > size:
            raise _damaged(
                path, f"tensor {name} ends at byte {first_byte + stop}, the file has {size}: it is truncated"
            )
        if first_byte + start != position or stop - start != spec.num_bytes:
            raise _damaged(
                path,
                f"tensor {name} ({spec.num_bytes} bytes by shape and type) lies at bytes {first_byte + start} to "
                f"{first_byte + stop}, expected from {position}",
            )
        placements[name] = Placement(spec, position)
        position += spec.num_bytes
    if position != size:
        raise _damaged(path, f"the tensors end at byte {position}, the file has {size}")
    return placements


def _span(path: Path, name: str, entry: object) -> tuple[int, int]:
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if not (isinstance(offsets, list) and len(offsets) == 2 and all(type(offset) is int for offset in offsets)):
        raise _damaged(path, f"tensor {name} has data_offsets {offsets!r}, expected two integers")
    start, stop = offsets
    if not 0 <= start <= stop:
        raise _damaged(path, f"tensor {name} has data_offsets {offsets!r}, expected 0 <= start <= stop")
    return start, stop


def _spec(path: Path, name: str, entry: dict[str, Any]) -> TensorSpec:
    shape = entry.get("shape")
    if not (isinstance(shape, list) and all(type(dim) is int and dim >= 0 for dim in shape)):
        raise _damaged(path, f"tensor {name} has shape {shape!r}, expected a list of integers from 0 up")
    dtype = DTYPES.get(str(entry.get("dtype")))
    if dtype is None:
        raise UnsupportedModelError(
            f"{path}: tensor {name} has element type {entry.get('dtype')!r}; readable are {', '.join(DTYPES)}. "
            "Convert the checkpoint to one of these first"
        )
    return TensorSpec(dtype, tuple(shape))


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice")
    return result


def _damaged(path: Path, what: str) -> DamagedArtifactError:
    return DamagedArtifactError(f"{path}: {what}; {_ADVICE}")
