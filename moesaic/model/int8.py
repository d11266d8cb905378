"""Eight-bit rounding: weights with one scale per output row, activations with one scale per token. No I/O.

Legend: O output rows, I inputs, T tokens (any leading shape).

What the kernels of vLLM 0.32 on a CPU do with these numbers, found by probing them:

1. Zen (zentorch) linear layers keep the *weight* scale in bf16; its fused experts and oneDNN keep it in fp32. So we
   round the scale to bf16 before we round the weights: then every kernel computes with exactly the weights we meant.
2. An *activation* is rounded with its fp32 scale absmax/127, ties to even, everywhere. Zen linear layers then multiply
   by that scale rounded to bf16; Zen's int8 experts and oneDNN by the fp32 scale. In fp32 and with the right one, a
   dense model in PyTorch and in vLLM agree in every log-probability to five decimals.
"""

import torch
from torch import Tensor

from moesaic.errors import SchemeError

__all__ = [
    "check_finite",
    "check_matrix",
    "dequantize_int8",
    "fake_quantize_activations",
    "positive_scale",
    "quantize_int8",
    "row_blocks",
]

_LARGEST = 127  # symmetric: -128 is not used
_BLOCK_ELEMENTS = 2**20  # rows are rounded in blocks whose fp32 copies stay in the processor's cache


def quantize_int8(weight_OI: Tensor, *, name: str = "weight") -> tuple[Tensor, Tensor]:
    """Round a matrix to the nearest multiple of its rows' scales, absmax/127.

    A rounded scale is at most 2^-8 smaller than absmax/127, so |w/scale| < 127.5: nothing is clipped, and each weight
    moves by at most scale/2. A row of zeros gets scale 1.

    Args:
        weight_OI: float matrix, any float type.
        name: the tensor's name, for the error message.

    Returns:
        q_OI int8 in [-127, 127], and scale_O1 bf16, positive.

    Raises:
        SchemeError: not a float matrix, empty, or with NaN or infinite elements.
    """
    check_matrix(weight_OI, name)
    q_OI = torch.empty(weight_OI.shape, dtype=torch.int8, device=weight_OI.device)
    scale_O1 = torch.empty(weight_OI.shape[0], 1, dtype=torch.bfloat16, device=weight_OI.device)
    for rows in row_blocks(weight_OI):
        w_OI = weight_OI[rows].float()
        absmax_O1 = w_OI.abs().amax(dim=1, keepdim=True)
        check_finite(absmax_O1, name)
        scale_O1[rows] = positive_scale(absmax_O1, _LARGEST)
        q_OI[rows] = torch.round(w_OI / scale_O1[rows].float())
    return q_OI, scale_O1


def dequantize_int8(q_OI: Tensor, scale_O1: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """The weights that q and scale stand for, computed in fp32 and then rounded to `dtype`; [O, I]."""
    out_OI = torch.empty(q_OI.shape, dtype=dtype, device=q_OI.device)
    for rows in row_blocks(q_OI):
        out_OI[rows] = q_OI[rows].float().mul_(scale_O1[rows].float())
    return out_OI


def fake_quantize_activations(x_TI: Tensor, *, scale_dtype: torch.dtype = torch.float32) -> Tensor:
    """Activations as the int8 kernels see them: each token rounded to multiples of its own absmax/127.

    With fp32 input the result is what the kernel multiplies, exactly; bf16 input is rounded once more, to bf16.

    Args:
        x_TI: float activations, any leading shape; the last dimension shares a scale.
        scale_dtype: fp32 for experts and oneDNN; bf16 reproduces Zen's linear layers (point 2 above).

    Returns:
        The same shape and type. Tokens of zeros stay zero; NaN and infinity make the whole token NaN.
    """
    x = x_TI.float()
    scale_T1 = x.abs().amax(dim=-1, keepdim=True) / _LARGEST
    steps_TI = torch.round(x / torch.where(scale_T1 == 0, 1.0, scale_T1))
    return (steps_TI * scale_T1.to(scale_dtype).float()).to(x_TI.dtype)


def check_matrix(weight_OI: Tensor, name: str) -> None:
    """Raise SchemeError unless this is a float matrix with elements."""
    if weight_OI.dim() != 2 or not weight_OI.is_floating_point() or weight_OI.numel() == 0:
        raise SchemeError(
            f"{name}: {weight_OI.dtype} of shape {tuple(weight_OI.shape)} cannot be quantized, expected a float matrix "
            "[outputs, inputs]; quantize the full-precision model"
        )


def check_finite(absmax: Tensor, name: str) -> None:
    """Raise SchemeError where a largest magnitude is NaN or infinite, that is, where any element is."""
    if not bool(torch.isfinite(absmax).all()):
        raise SchemeError(
            f"{name}: has NaN or infinite elements, which no scale can represent; "
            "repair or retrain these weights before quantizing them"
        )


def positive_scale(absmax: Tensor, steps: float) -> Tensor:
    """absmax/steps in bf16, kept out of the subnormal range (kernels flush it to zero); 1 where absmax is 0."""
    smallest = torch.finfo(torch.bfloat16).smallest_normal
    return torch.where(absmax == 0, 1.0, (absmax / steps).clamp_min(smallest)).to(torch.bfloat16)


def row_blocks(matrix_OI: Tensor) -> list[slice]:
    """Slices of rows that cover a matrix in blocks of about a million elements."""
    rows = max(1, _BLOCK_ELEMENTS // max(1, matrix_OI.shape[1]))
    return [slice(start, start + rows) for start in range(0, matrix_OI.shape[0], rows)]
