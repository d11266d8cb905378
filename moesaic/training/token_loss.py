"""The loss of predicted tokens, whose gradient takes the place of the logits.

Shapes: N positions, V vocabulary.
"""

from typing import Any

import torch
import torch.nn.functional as F

from moesaic.training.batch import IGNORED

__all__ = ["consumed_loss", "summed_loss"]

_ROW_BYTES = {"cpu": 2**22, "cuda": 2**28}
"""What is exponentiated at a time, fp32: it should stay in a core's cache; on a GPU, be many rows and little memory."""


def summed_loss(logits_BSV: torch.Tensor, targets_BS: torch.Tensor) -> torch.Tensor:
    """Sum of -log p(target) in nats over all positions that have one; fp32, a scalar."""
    flat = logits_BSV.reshape(-1, logits_BSV.shape[-1]).float()
    return F.cross_entropy(flat, targets_BS.reshape(-1).to(flat.device), ignore_index=IGNORED, reduction="sum")


def consumed_loss(logits_BSV: torch.Tensor, targets_BS: torch.Tensor, scale: float) -> torch.Tensor:
    """`scale` times `summed_loss`, for training: afterwards the memory of `logits_BSV` holds its gradient.

    The gradient of cross entropy is known as soon as its value is (softmax minus the target), so it is written over the
    logits in the forward pass, as Liger Kernel does (arXiv:2410.10989, section 3.2). Autograd would keep the logits and
    their logarithms, and write both once more in the backward pass: with a vocabulary of 50,000 that is most of a small
    model's memory. How this differs: the logits are whole, so that it works for any model and any wrapper around it.

    Args:
        logits_BSV: what the last layer gave, of any precision. Nobody may read it afterwards.
        targets_BS: token ids, `IGNORED` where there is none.
        scale: factor of the loss, applied here so that the gradient needs no further pass.
    """
    flat = logits_BSV.reshape(-1, logits_BSV.shape[-1])
    loss: torch.Tensor = _ConsumedLoss.apply(flat, targets_BS.reshape(-1).to(flat.device), scale)
    return loss


class _ConsumedLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits_NV: torch.Tensor, targets_N: torch.Tensor, scale: float) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float32, device=logits_NV.device)
        rows = max(1, _ROW_BYTES[logits_NV.device.type] // (4 * logits_NV.shape[-1]))
        for part_NV, part_N in zip(logits_NV.split(rows), targets_N.split(rows), strict=True):
            total += _differentiate(part_NV, part_N, scale)
        ctx.gradient_NV = logits_NV
        return total

    @staticmethod
    def backward(ctx: Any, outer: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        gradient_NV, ctx.gradient_NV = ctx.gradient_NV, None
        # Looking at a value on a GPU would wait for it.
        if outer.device.type != "cpu" or float(outer) != 1.0:
            gradient_NV.mul_(outer)
        return gradient_NV, None, None


def _differentiate(logits_NV: torch.Tensor, targets_N: torch.Tensor, scale: float) -> torch.Tensor:
    """Write the gradient over some rows of logits; returns their scaled loss."""
    log_NV = torch.log_softmax(logits_NV, dim=-1, dtype=torch.float32)
    learnt_N1 = (targets_N != IGNORED)[:, None]
    target_N1 = targets_N.clamp(min=0)[:, None]
    loss = -scale * (log_NV.gather(-1, target_N1) * learnt_N1).sum()
    weight_N1 = scale * learnt_N1
    gradient_NV = log_NV.exp_().mul_(weight_N1)
    gradient_NV.scatter_add_(-1, target_N1, -weight_N1.float())
    logits_NV.copy_(gradient_NV)
    return loss
