"""RMS normalisation on a CPU as one operation instead of a dozen.

vLLM 0.32 has kernels for it in its CPU build and does not select them there: each of the two norms of a layer runs as
some twelve small PyTorch operations, a twentieth of a decode step of one stream. We register the kernels with vLLM's
own dispatch (`vllm.ir`) and prefer them. They compute in fp32 and round once where the composition rounds twice.
"""

import torch
from vllm import ir
from vllm.platforms import current_platform

__all__ = ["PROVIDER", "fused_add_rms_norm", "rms_norm", "use_fused_norms"]

PROVIDER = "moesaic_cpu"
"""Name under which vLLM knows these implementations."""

_LANES = 16  # elements of a vector register in bf16: the kernels take no width that is not a multiple of them


def use_fused_norms() -> None:
    """Prefer the kernels in this process from now on; vLLM's composition remains for what they do not take."""
    current_platform.import_kernels()
    if not hasattr(torch.ops._C, "fused_add_rms_norm"):  # this build of vLLM has none
        return

    if PROVIDER not in ir.ops.rms_norm.impls:
        ir.ops.rms_norm.register_impl(PROVIDER, supports_args=_norm_fits)(rms_norm)
        ir.ops.fused_add_rms_norm.register_impl(PROVIDER, supports_args=_add_norm_fits, inplace=True)(
            fused_add_rms_norm
        )
    ir.ops.rms_norm.set_default([PROVIDER, "native"])
    ir.ops.fused_add_rms_norm.set_default([PROVIDER, "native"])


def rms_norm(
    x: torch.Tensor, weight: torch.Tensor | None, epsilon: float, variance_size: int | None = None
) -> torch.Tensor:
    """Normalise [..., D] by its root mean square and multiply by `weight` [D]; see `vllm.ir.ops.rms_norm`."""
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    torch.ops._C.rms_norm(out, x.contiguous(), weight, epsilon)
    return out


def fused_add_rms_norm(
    x: torch.Tensor,
    x_residual: torch.Tensor,
    weight: torch.Tensor | None,
    epsilon: float,
    variance_size: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add, keep the sum as the residual, and normalise it, both in place; see `vllm.ir.ops.fused_add_rms_norm`."""
    torch.ops._C.fused_add_rms_norm(x, x_residual, weight, epsilon)
    return x, x_residual


def _norm_fits(x: torch.Tensor, weight: torch.Tensor | None, epsilon: float, variance_size: int | None = None) -> bool:
    """Whether the kernel takes these arguments."""
    return variance_size is None and weight is not None and weight.dtype == x.dtype and x.shape[-1] % _LANES == 0


def _add_norm_fits(
    x: torch.Tensor,
    x_residual: torch.Tensor,
    weight: torch.Tensor | None,
    epsilon: float,
    variance_size: int | None = None,
) -> bool:
    """Whether the kernel takes these arguments, in place."""
    fits = _norm_fits(x, weight, epsilon, variance_size) and x_residual.dtype == x.dtype
    return fits and x.is_contiguous() and x_residual.is_contiguous()
