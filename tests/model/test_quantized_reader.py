"""A quantized checkpoint read under plain names, and the ways in which one can be wrong."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from moesaic.errors import DamagedArtifactError, SchemeError
from moesaic.model.quantized import (
    QuantizedReader,
    Scheme,
    dequantize_int4,
    dequantize_int8,
    matrices_to_quantize,
    quantization_config,
    quantize_int4,
    quantize_int8,
)
from moesaic.model.quantizer import quantize_weights
from moesaic.model.shards import ShardReader, ShardWriter, TensorSpec
from tests.model.pyramid_checkpoint import pyramid_tensors, save_sharded

PARTS = {Scheme.INT8: ("weight", "weight_scale"), Scheme.INT4: ("weight_packed", "weight_scale", "weight_shape")}
UP, DOWN = "model.layers.1.mlp.experts.4.up_proj", "model.layers.0.mlp.down_proj"


def quantized_pyramid(folder: Path, scheme: Scheme) -> dict[str, torch.Tensor]:
    """Write a plain and a quantized pyramid below `folder`; return the tensors of the latter."""
    (folder / "plain").mkdir()
    (folder / "quantized").mkdir()
    save_sharded(folder / "plain", pyramid_tensors())
    with ShardReader(folder / "plain") as reader, ShardWriter(folder / "quantized") as writer:
        quantize_weights(reader, writer, scheme)
    reader = ShardReader(folder / "quantized")
    return {name: reader.read(name) for name in reader.names}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scheme", Scheme)
def test_plain_names_and_dequantized_matrices(tmp_path: Path, scheme: Scheme, dtype: torch.dtype) -> None:
    quantized_pyramid(tmp_path, scheme)
    plain = pyramid_tensors()
    matrices = set(matrices_to_quantize(scheme, plain))
    with QuantizedReader(ShardReader(tmp_path / "quantized"), quantization_config(scheme), dtype=dtype) as reader:
        assert reader.names == sorted(plain)
        assert reader.largest_shard_bytes == (tmp_path / "quantized" / "model.safetensors").stat().st_size
        for name, tensor in plain.items():
            found = reader.read(name)
            assert reader.spec(name) == TensorSpec(found.dtype, tuple(found.shape))
            if name.removesuffix(".weight") not in matrices:
                assert torch.equal(found, tensor)
            elif scheme is Scheme.INT4:
                assert torch.equal(found, dequantize_int4(*quantize_int4(tensor)[:2], dtype=dtype))
            else:
                assert torch.equal(found, dequantize_int8(*quantize_int8(tensor), dtype=dtype))


@pytest.mark.parametrize(("scheme", "part"), [(scheme, part) for scheme, parts in PARTS.items() for part in parts])
def test_a_missing_part_is_refused_by_name(tmp_path: Path, scheme: Scheme, part: str) -> None:
    tensors = quantized_pyramid(tmp_path, scheme)
    del tensors[f"{UP}.{part}"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(DamagedArtifactError, match=UP):
        QuantizedReader(ShardReader(tmp_path), quantization_config(scheme))


@pytest.mark.parametrize(
    ("scheme", "part", "wrong", "message"),
    [
        (Scheme.INT8, "weight", torch.ones(96, 64), "expected an torch.int8 matrix"),
        (Scheme.INT8, "weight", torch.ones(96, dtype=torch.int8), "expected an torch.int8 matrix"),
        (Scheme.INT8, "weight_scale", torch.ones(96), "weight_scale is"),
        (Scheme.INT8, "weight_scale", torch.ones(1), "weight_scale is"),
        (Scheme.INT8, "weight_scale", torch.ones(96, 1, dtype=torch.int8), "weight_scale is"),
        (Scheme.INT4, "weight_packed", torch.ones(96, 64, dtype=torch.int8), "expected an torch.int32 matrix"),
        (Scheme.INT4, "weight_packed", torch.ones(96, 7, dtype=torch.int32), "weight_scale is"),
        (Scheme.INT4, "weight_scale", torch.ones(96, 1), "weight_scale is"),
        (Scheme.INT4, "weight_shape", torch.ones(2), "not two int64"),
    ],
)
def test_a_misshapen_part_is_refused_by_name(
    tmp_path: Path, scheme: Scheme, part: str, wrong: torch.Tensor, message: str
) -> None:
    tensors = quantized_pyramid(tmp_path, scheme)
    save_file(tensors | {f"{UP}.{part}": wrong}, tmp_path / "model.safetensors")
    with pytest.raises(DamagedArtifactError, match=f"{UP}.*{message}"):
        QuantizedReader(ShardReader(tmp_path), quantization_config(scheme))


def test_values_that_no_quantizer_writes_are_refused_when_read(tmp_path: Path) -> None:
    tensors = quantized_pyramid(tmp_path, Scheme.INT4)
    tensors[f"{UP}.weight_scale"][3, 1] = float("nan")
    tensors[f"{DOWN}.weight_shape"] = torch.tensor([96, 64])
    save_file(tensors, tmp_path / "model.safetensors")
    reader = QuantizedReader(ShardReader(tmp_path), quantization_config(Scheme.INT4))
    with pytest.raises(DamagedArtifactError, match=f"{UP}.weight_scale has NaN"):
        reader.read(f"{UP}.weight")
    with pytest.raises(DamagedArtifactError, match=f"{DOWN}.weight_shape is"):
        reader.read(f"{DOWN}.weight")
    with pytest.raises(DamagedArtifactError, match="no tensor weight"):
        reader.read("weight")


def test_a_configuration_that_disagrees_with_the_tensors_is_refused(tmp_path: Path) -> None:
    quantized_pyramid(tmp_path, Scheme.INT8)
    eight = ShardReader(tmp_path / "quantized")
    with pytest.raises(DamagedArtifactError, match=r"self_attn.* is quantized, but config.json lists it under ignore"):
        QuantizedReader(eight, quantization_config(Scheme.INT8_EXPERTS))
    with pytest.raises(DamagedArtifactError, match="weight_packed"):
        QuantizedReader(eight, quantization_config(Scheme.INT4) | {"ignore": []})
    with pytest.raises(DamagedArtifactError, match="none has a weight_scale"):
        QuantizedReader(ShardReader(tmp_path / "plain"), quantization_config(Scheme.INT8))


def test_a_matrix_that_stayed_plain_against_the_configuration_is_refused(tmp_path: Path) -> None:
    quantized_pyramid(tmp_path, Scheme.INT8_EXPERTS)
    with pytest.raises(DamagedArtifactError, match=r"self_attn.* is not quantized, but config.json does not list it"):
        QuantizedReader(ShardReader(tmp_path / "quantized"), quantization_config(Scheme.INT8))


@pytest.mark.parametrize("part", ["weight_zero_point", "weight_g_idx", "input_scale"])
def test_parts_of_other_quantizations_are_refused(tmp_path: Path, part: str) -> None:
    tensors = quantized_pyramid(tmp_path, Scheme.INT8)
    save_file(tensors | {f"{UP}.{part}": torch.ones(1)}, tmp_path / "model.safetensors")
    with pytest.raises(SchemeError, match=f"{UP}.{part} belongs to"):
        QuantizedReader(ShardReader(tmp_path), quantization_config(Scheme.INT8))


def test_an_unknown_configuration_is_refused(tmp_path: Path) -> None:
    quantized_pyramid(tmp_path, Scheme.INT8)
    with pytest.raises(SchemeError, match="quant_method='awq'"):
        QuantizedReader(ShardReader(tmp_path / "quantized"), {"quant_method": "awq"})
