"""Round a whole model to a serving scheme by round-to-nearest, one tensor at a time.

Memory: one tensor and its rounded copy. Order: by name, so that the output does not depend on the input's shards.
Shapes and types are checked before the first byte is written; afterwards the tensors that were written are compared
with those that should have been, since a matrix that is skipped silently is the classical fault of such tools.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from moesaic.errors import SchemeError
from moesaic.model.int4 import check_groups
from moesaic.model.quantized import Scheme, matrices_to_quantize, quantize_int4, quantize_int8, weight_format
from moesaic.model.shards import ShardWriter, TensorSource, TensorSpec

__all__ = ["QuantizationReport", "check_coverage", "quantize_weights"]

Progress = Callable[[int, int], None]
"""Called with the bytes read so far and the bytes of the whole model."""


@dataclass(frozen=True, kw_only=True)
class QuantizationReport:
    """What was done; the manifest's `quantization` entry is made from it."""

    scheme: Scheme
    format: str
    """compressed-tensors' name of the storage format."""
    weight_bits: int
    activation_bits: int | None
    """8 where kernels round activations per token, None where they stay as they are."""
    group_size: int | None
    """Weights that share a scale, or None for one scale per output row."""
    matrices: int
    """How many matrices were quantized."""
    parameters: int
    """How many weights these have together."""
    bytes_before: int
    """Tensor bytes of the source."""
    bytes_after: int
    """Tensor bytes that were written."""


def quantize_weights(
    source: TensorSource, writer: ShardWriter, scheme: Scheme, *, progress: Progress | None = None
) -> QuantizationReport:
    """Copy all tensors of `source` to `writer`, rounding the matrices that the scheme names.

    Raises:
        SchemeError: nothing to quantize, already quantized, an unsuitable shape or type (before anything is written),
            or NaN or infinite weights; names the tensor.
        DamagedArtifactError: a source tensor cannot be read.
    """
    stored = weight_format(scheme)
    before = {name: source.spec(name) for name in source.names}
    matrices = frozenset(matrices_to_quantize(scheme, before))
    for matrix in sorted(matrices):
        _check_spec(f"{matrix}.weight", before[f"{matrix}.weight"], stored.group_size)
    done = 0
    total = sum(spec.num_bytes for spec in before.values())
    for name in sorted(before):
        matrix = name.removesuffix(".weight")
        if name != matrix and matrix in matrices:
            for part, tensor in _rounded(source.read(name), name, stored.group_size).items():
                writer.write(f"{matrix}.{part}", tensor)
        else:
            writer.write(name, source.read(name))
        done += before[name].num_bytes
        if progress is not None:
            progress(done, total)
    check_coverage(before, writer.specs, scheme)
    return QuantizationReport(
        scheme=scheme,
        format=stored.format,
        weight_bits=stored.weight_bits,
        activation_bits=stored.activation_bits,
        group_size=stored.group_size,
        matrices=len(matrices),
        parameters=sum(before[f"{matrix}.weight"].num_elements for matrix in matrices),
        bytes_before=total,
        bytes_after=sum(spec.num_bytes for spec in writer.specs.values()),
    )


def check_coverage(before: Mapping[str, TensorSpec], after: Mapping[str, TensorSpec], scheme: Scheme) -> None:
    """Raise SchemeError unless exactly the scheme's matrices were replaced by their parts, and nothing else differs."""
    group_size = weight_format(scheme).group_size
    expected = dict(before)
    for matrix in matrices_to_quantize(scheme, before):
        outputs, inputs = expected.pop(f"{matrix}.weight").shape
        if group_size is None:
            expected[f"{matrix}.weight"] = TensorSpec(torch.int8, (outputs, inputs))
            expected[f"{matrix}.weight_scale"] = TensorSpec(torch.bfloat16, (outputs, 1))
        else:
            expected[f"{matrix}.weight_packed"] = TensorSpec(torch.int32, (outputs, inputs // 8))
            expected[f"{matrix}.weight_scale"] = TensorSpec(torch.bfloat16, (outputs, inputs // group_size))
            expected[f"{matrix}.weight_shape"] = TensorSpec(torch.int64, (2,))
    for name in sorted(expected.keys() | after.keys()):
        if after.get(name) != expected.get(name):
            raise SchemeError(
                f"{name}: scheme={scheme.value!r} should give {expected.get(name)}, written was {after.get(name)}; "
                "don't use this output, and report the defect"
            )


def _check_spec(name: str, spec: TensorSpec, group_size: int | None) -> None:
    if len(spec.shape) != 2 or not spec.dtype.is_floating_point or spec.num_elements == 0:
        raise SchemeError(
            f"{name}: {spec.dtype} of shape {spec.shape} cannot be quantized, expected a float matrix "
            "[outputs, inputs]; quantize the full-precision model"
        )
    if group_size is not None:
        check_groups(spec.shape, group_size, name)


def _rounded(weight: torch.Tensor, name: str, group_size: int | None) -> dict[str, torch.Tensor]:
    if group_size is None:
        q_OI, scale_O1 = quantize_int8(weight, name=name)
        return {"weight": q_OI, "weight_scale": scale_O1}
    packed_OP, scale_OG, shape = quantize_int4(weight, group_size, name=name)
    return {"weight_packed": packed_OP, "weight_scale": scale_OG, "weight_shape": shape}
