"""`QuantizedReader`: a quantized checkpoint read as if it had never been quantized, one tensor at a time."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from moesaic.errors import DamagedArtifactError, SchemeError
from moesaic.model.int4 import dequantize_int4
from moesaic.model.int8 import dequantize_int8
from moesaic.model.shards import ShardReader, TensorSpec
from moesaic.model.weight_format import PACK_QUANTIZED, WeightFormat

__all__ = ["QuantizedReader"]

_FOREIGN_PARTS = (
    "weight_zero_point",
    "weight_g_idx",
    "weight_global_scale",
    "input_scale",
    "input_zero_point",
    "output_scale",
)


class QuantizedReader:
    """Shows the plain names of a quantized checkpoint and reads dequantized matrices; other tensors come as they are.

    Args:
        reader: the checkpoint as it lies on disk.
        quantization_config: the entry of that name in its config.json.
        dtype: element type of dequantized matrices.

    Raises:
        SchemeError: the configuration, or a tensor of a kind that it does not name, is unknown.
        DamagedArtifactError: a part of a matrix is missing or misshapen, or the configuration and the tensors disagree
            about which matrices are quantized.
    """

    def __init__(
        self, reader: ShardReader, quantization_config: Mapping[str, Any], *, dtype: torch.dtype = torch.float32
    ) -> None:
        self.format = WeightFormat.parse(quantization_config)
        self.dtype = dtype
        self._reader = reader
        self._packed = self.format.format == PACK_QUANTIZED
        self._suffix = "weight_packed" if self._packed else "weight"
        names = set(reader.names)
        self._matrices = {name.removesuffix(".weight_scale") for name in names if name.endswith(".weight_scale")}
        self._plain = names - {f"{matrix}.{part}" for matrix in self._matrices for part in self._parts()}
        self._check()

    @property
    def names(self) -> list[str]:
        """All tensor names of the plain model, sorted."""
        return sorted(self._plain | {f"{matrix}.weight" for matrix in self._matrices})

    @property
    def largest_shard_bytes(self) -> int:
        """Size of the largest weight file, as stored."""
        return self._reader.largest_shard_bytes

    def spec(self, name: str) -> TensorSpec:
        """Element type and shape of a tensor as `read` returns it."""
        matrix = name.removesuffix(".weight")
        if name == matrix or matrix not in self._matrices:
            return self._reader.spec(name)
        outputs, columns = self._reader.spec(f"{matrix}.{self._suffix}").shape
        return TensorSpec(self.dtype, (outputs, columns * 8 if self._packed else columns))

    def read(self, name: str) -> Tensor:
        """A tensor in memory of its own, dequantized where it is a quantized matrix."""
        matrix = name.removesuffix(".weight")
        if name == matrix or matrix not in self._matrices:
            return self._reader.read(name)
        scale = self._reader.read(f"{matrix}.weight_scale")
        if not bool(torch.isfinite(scale).all()):
            raise self._damaged(f"{matrix}.weight_scale has NaN or infinite elements")
        stored = self._reader.read(f"{matrix}.{self._suffix}")
        if not self._packed:
            return dequantize_int8(stored, scale, dtype=self.dtype)
        shape = tuple(self._reader.read(f"{matrix}.weight_shape").tolist())
        if shape != self.spec(name).shape:
            raise self._damaged(f"{matrix}.weight_shape is {shape}, the packed matrix has {self.spec(name).shape}")
        return dequantize_int4(stored, scale, dtype=self.dtype)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing stays open between two reads."""

    def _parts(self) -> tuple[str, ...]:
        return ("weight_packed", "weight_scale", "weight_shape") if self._packed else ("weight", "weight_scale")

    def _check(self) -> None:
        if not self._matrices:
            raise self._damaged("config.json says that the matrices are quantized, but none has a weight_scale")
        for matrix in sorted(self._matrices):
            if self.format.ignores(matrix):
                raise self._damaged(f"{matrix} is quantized, but config.json lists it under ignore")
            self._check_matrix(matrix)
        for name in sorted(self._plain):
            if name.endswith(_FOREIGN_PARTS):
                raise SchemeError(
                    f"{self._reader.folder}: {name} belongs to an asymmetric, reordered or static quantization; "
                    "Moesaic reads symmetric weights without them"
                )
            stored_alone = name.endswith((".weight_packed", ".weight_shape"))
            integer = name.endswith(".weight") and not self._reader.spec(name).dtype.is_floating_point
            if stored_alone or integer:
                raise self._damaged(f"{name} is quantized but has no weight_scale beside it")
            if name.endswith("_proj.weight") and not self.format.ignores(name.removesuffix(".weight")):
                raise self._damaged(f"{name} is not quantized, but config.json does not list it under ignore")

    def _check_matrix(self, matrix: str) -> None:
        stored = self._reader.spec(f"{matrix}.{self._suffix}")
        scale = self._reader.spec(f"{matrix}.weight_scale")
        integer = torch.int32 if self._packed else torch.int8
        if stored.dtype != integer or len(stored.shape) != 2:
            raise self._damaged(
                f"{matrix}.{self._suffix} is {stored.dtype} {stored.shape}, expected an {integer} matrix"
            )
        outputs, columns = stored.shape
        groups = 1 if self.format.group_size is None else columns * 8 // self.format.group_size
        whole = self.format.group_size is None or columns * 8 == groups * self.format.group_size
        if scale.shape != (outputs, groups) or not whole or not scale.dtype.is_floating_point:
            raise self._damaged(
                f"{matrix}.weight_scale is {scale.dtype} {scale.shape}, expected floats {(outputs, groups)} "
                f"for group_size={self.format.group_size}"
            )
        if self._packed and self._reader.spec(f"{matrix}.weight_shape") != TensorSpec(torch.int64, (2,)):
            raise self._damaged(f"{matrix}.weight_shape is not two int64 numbers")

    def _damaged(self, what: str) -> DamagedArtifactError:
        return DamagedArtifactError(f"{self._reader.folder}: {what}; copy the model again, or quantize it again")
