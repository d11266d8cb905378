"""Four-bit rounding in groups, and the packing of eight such weights into an int32. No I/O.

Legend: O output rows, I inputs, G groups per row, S group size (I = G*S), P packed words per row (I = 8*P), C scales
that are tried.

Values run from -8 to 7. Round-to-nearest at absmax/7 wastes the -8, so for each group we try several scales and keep
the one with the least squared error. Two points:

1. The sign of a scale is free (kernels only multiply by it), and we choose it so that the group's extreme element is
   negative: then 7/8 of the step reaches it with -8. On normal weights the error is 6% below that of positive scales
   alone, and 16% below plain rounding.
2. Scales are bf16, as the kernels on Zen keep them, and are rounded before the weights are.

On a Zen CPU vLLM also rounds the activations of int4 matrices to eight bits (one scale per token, kept in bf16),
although the format does not ask for it; other machines keep them.

The packing is that of compressed-tensors: each value plus 8 as four bits, the lowest bits first along the inputs.
"""

import torch
from torch import Tensor

from moesaic.errors import SchemeError
from moesaic.model.int8 import check_finite, check_matrix, positive_scale, row_blocks

__all__ = [
    "GROUP_SIZE",
    "check_groups",
    "dequantize_int4",
    "pack_int4",
    "quantize_int4",
    "round_int4",
    "unpack_int4",
]

GROUP_SIZE = 32
"""Weights that share a scale by default."""

_PER_WORD = 8
_RATIOS = (1.0, 0.95, 0.9, 0.875, 0.85, 0.8)  # of absmax/7; 0.875 puts the extreme element at -8 exactly


def quantize_int4(
    weight_OI: Tensor, group_size: int = GROUP_SIZE, *, name: str = "weight"
) -> tuple[Tensor, Tensor, Tensor]:
    """Round a matrix to four bits, group by group, and pack it.

    No group's squared error is larger than with scale absmax/7, where each weight moves by at most scale/2.

    Returns:
        packed_OP int32 [O, I/8], scale_OG bf16 [O, I/group_size] (either sign, never 0), shape int64 [2] = (O, I).

    Raises:
        SchemeError: not a float matrix, NaN or infinite elements, a group size that is no multiple of 8, or inputs that
            are no multiple of the group size.
    """
    check_matrix(weight_OI, name)
    check_groups(tuple(weight_OI.shape), group_size, name)
    outputs, inputs = weight_OI.shape
    packed_OP = torch.empty(outputs, inputs // _PER_WORD, dtype=torch.int32, device=weight_OI.device)
    scale_OG = torch.empty(outputs, inputs // group_size, dtype=torch.bfloat16, device=weight_OI.device)
    for rows in row_blocks(weight_OI):
        w_OI = weight_OI[rows].float()
        scale_OG[rows] = _search_scales(w_OI.reshape(len(w_OI), -1, group_size), name)
        packed_OP[rows] = pack_int4(round_int4(w_OI, scale_OG[rows]))
    return packed_OP, scale_OG, torch.tensor([outputs, inputs], dtype=torch.int64)


def round_int4(weight_OI: Tensor, scale_OG: Tensor) -> Tensor:
    """The nearest values in [-8, 7] under given scales (calibrated methods bring their own); int8 [O, I]."""
    w_OGS = weight_OI.float().reshape(*scale_OG.shape, -1)
    return _round(w_OGS, scale_OG.float()).to(torch.int8).flatten(1)


def dequantize_int4(packed_OP: Tensor, scale_OG: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """The weights that packed values and scales stand for, computed in fp32 and then rounded to `dtype`; [O, I]."""
    out_OI = torch.empty(packed_OP.shape[0], packed_OP.shape[1] * _PER_WORD, dtype=dtype, device=packed_OP.device)
    for rows in row_blocks(out_OI):
        q_OGS = unpack_int4(packed_OP[rows]).reshape(*scale_OG[rows].shape, -1)
        out_OI[rows] = (q_OGS.float() * scale_OG[rows].float().unsqueeze(-1)).flatten(1)
    return out_OI


def pack_int4(q_OI: Tensor) -> Tensor:
    """Values in [-8, 7] (int8, I a multiple of 8) to int32 [O, I/8]."""
    assert q_OI.dtype == torch.int8
    assert q_OI.shape[1] % _PER_WORD == 0
    nibbles = (q_OI + 8).view(torch.uint8).reshape(len(q_OI), -1, 2)
    return (nibbles[..., 0] | nibbles[..., 1] << 4).contiguous().view(torch.int32)


def unpack_int4(packed_OP: Tensor) -> Tensor:
    """The inverse of `pack_int4`: int8 [O, 8*P]."""
    pairs = packed_OP.contiguous().view(torch.uint8)
    q_OI: Tensor = torch.stack((pairs & 15, pairs >> 4), dim=-1).flatten(1).view(torch.int8) - 8
    return q_OI


def check_groups(shape: tuple[int, ...], group_size: int, name: str) -> None:
    """Raise SchemeError unless whole groups, and whole packed words, fill each row of a matrix of this shape."""
    if group_size < _PER_WORD or group_size % _PER_WORD:
        raise SchemeError(f"{name}: group_size={group_size} must be a multiple of {_PER_WORD}; use {GROUP_SIZE}")
    if shape[-1] % group_size:
        raise SchemeError(
            f"{name}: {shape[-1]} inputs are no multiple of group_size={group_size}; choose int8 for this model"
        )


def _search_scales(w_OGS: Tensor, name: str) -> Tensor:
    """The best of the candidate scales for each group; bf16 [O, G]."""
    high_OG, low_OG = w_OGS.amax(dim=-1), w_OGS.amin(dim=-1)
    absmax_OG = torch.maximum(high_OG, -low_OG)
    check_finite(absmax_OG, name)
    sign_OG = torch.where(high_OG > -low_OG, -1.0, 1.0)
    scale_COG = torch.stack([sign_OG * positive_scale(absmax_OG, 7 / ratio).float() for ratio in _RATIOS])
    # Errors are in units of absmax, so that squares of tiny or huge weights stay in range.
    unit_OGS = w_OGS / torch.where(absmax_OG == 0, 1.0, absmax_OG).unsqueeze(-1)
    relative_COG = scale_COG / torch.where(absmax_OG == 0, 1.0, absmax_OG)
    error_COG = torch.stack([_squared_error(unit_OGS, scale_OG) for scale_OG in relative_COG])
    best_OG = error_COG.argmin(dim=0, keepdim=True)
    return scale_COG.gather(0, best_OG).squeeze(0).to(torch.bfloat16)


def _squared_error(w_OGS: Tensor, scale_OG: Tensor) -> Tensor:
    return _round(w_OGS, scale_OG).mul_(scale_OG.unsqueeze(-1)).sub_(w_OGS).square_().sum(dim=-1)


def _round(w_OGS: Tensor, scale_OG: Tensor) -> Tensor:
    return torch.div(w_OGS, scale_OG.unsqueeze(-1)).round_().clamp_(-8, 7)
