"""Damaged headers are refused by name; nothing but our own errors comes out, whatever the bytes are."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from moesaic.errors import DamagedArtifactError, MoesaicError, UnsupportedModelError
from moesaic.model.safetensors_header import DTYPES, read_header


def write(path: Path, header: object, data: bytes) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def entry(start: int, stop: int, shape: list[Any], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def test_reads_what_the_reference_implementation_writes(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    tensors = {
        name: torch.zeros(3, 8).to(dtype) for name, dtype in ((key.lower(), value) for key, value in DTYPES.items())
    }
    tensors |= {"scalar": torch.tensor(1.5), "empty": torch.zeros(0, 4), "中文": torch.ones(2)}
    save_file(tensors, path, metadata={"format": "pt"})
    placements = read_header(path)
    assert {name: (place.spec.dtype, place.spec.shape) for name, place in placements.items()} == {
        name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()
    }


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        (b"", b"", "no safetensors file"),
        (b"{", b"", "no safetensors file"),
        (b"[]", b"", "not a JSON object"),
        (b"{]", b"", "not JSON"),
        (b"\xff\xfe", b"", "not JSON"),
        (b"[" * 100_000, b"", "not JSON"),
        (
            b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
            b"x",
            "twice",
        ),
        ({"w": entry(0, 8, [2])}, b"1234567", "tensor w ends at byte"),
        ({"w": entry(0, 8, [2])}, b"123456789", "end at byte"),
        ({"w": entry(0, 8, [3])}, b"12345678", r"tensor w \(12 bytes by shape"),
        ({"w": entry(4, 8, [1])}, b"12345678", "tensor w .* expected from"),
        ({"v": entry(0, 8, [2]), "w": entry(4, 12, [2])}, b"123456781234", "tensor w .* expected from"),
        ({"w": entry(8, 0, [2])}, b"12345678", "tensor w has data_offsets"),
        ({"w": entry(0, 8, [-2])}, b"12345678", "tensor w has shape"),
        ({"w": entry(0, 8, [True, 2])}, b"12345678", "tensor w has shape"),
        ({"w": {"dtype": "F32", "shape": [2]}}, b"12345678", "tensor w has data_offsets None"),
        ({"w": 7}, b"", "tensor w has data_offsets None"),
    ],
)
def test_refuses_damage_by_name(tmp_path: Path, header: object, data: bytes, message: str) -> None:
    path = tmp_path / "part.safetensors"
    write(path, header, data)
    with pytest.raises(DamagedArtifactError, match=message) as caught:
        read_header(path)
    assert "part.safetensors" in str(caught.value)


def test_refuses_a_missing_and_an_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(DamagedArtifactError, match=r"part\.safetensors: the file is missing"):
        read_header(tmp_path / "part.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(DamagedArtifactError, match="cannot be read"):
        read_header(tmp_path / "folder.safetensors")


def test_refuses_an_unknown_element_type_with_the_known_ones(tmp_path: Path) -> None:
    write(tmp_path / "m.safetensors", {"w": entry(0, 8, [16], "F4")}, b"12345678")
    with pytest.raises(UnsupportedModelError, match=r"tensor w has element type 'F4'; readable are .*BF16"):
        read_header(tmp_path / "m.safetensors")


HEADER = {"__metadata__": {"format": "pt"}, "a": entry(0, 8, [2]), "b": entry(8, 12, [2], "BF16")}


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_byte_change_gets_past_the_checks_as_another_error(data: st.DataObject) -> None:
    text = json.dumps(HEADER).encode()
    original = len(text).to_bytes(8, "little") + text + bytes(12)
    changed = bytearray(original)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(changed)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.safetensors")
        path.write_bytes(changed[:cut] if data.draw(st.booleans()) else changed)
        try:
            placements = read_header(path)
        except MoesaicError as error:
            placements, message = {}, str(error)
        else:
            message = path.name
        assert path.name in message
        assert sum(place.spec.num_bytes for place in placements.values()) <= path.stat().st_size
