"""LAMB: Adam's update, scaled for each matrix to the size of its weights; for large batches.

Source: You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes" (arXiv:1904.00962,
algorithm 2).

How this differs:

1. In a parameter [E, m, n] every expert has a trust ratio of its own: a layer's experts see different tokens.
2. Gains and biases, which are not decayed, have the trust ratio 1.
3. The size of the weights is used as it is, cut at `largest_norm` (the paper's phi is the identity with a bound).
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from moesaic.training.optimizers.matrix_optimizer import MatrixOptimizer

__all__ = ["Lamb"]


class Lamb(MatrixOptimizer):
    """LAMB over groups of parameters; a group with `weight_decay` 0 has the trust ratio 1.

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        betas: decays of the first and the second moment.
        eps: added to the root of the second moment.
        weight_decay: decoupled; part of the update that the trust ratio scales.
        largest_norm: bound of a matrix's norm in the ratio.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]] | Iterable[nn.Parameter],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-6,
        weight_decay: float = 0.1,
        largest_norm: float = 10.0,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "largest_norm": largest_norm}
        super().__init__(params, defaults)

    def _update(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if "step" not in state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        first, second = group["betas"]
        moment, square = state["exp_avg"], state["exp_avg_sq"]
        moment.lerp_(parameter.grad, 1 - first)
        square.mul_(second).addcmul_(parameter.grad, parameter.grad, value=1 - second)
        count = float(state["step"])
        update = (moment / (1 - first**count)) / ((square / (1 - second**count)).sqrt() + group["eps"])
        if group["weight_decay"]:
            update = update + group["weight_decay"] * parameter
            update = update * _trust(parameter, update, group["largest_norm"])
        parameter.add_(update, alpha=-group["lr"])


def _trust(parameter: torch.Tensor, update: torch.Tensor, largest: float) -> torch.Tensor:
    """||w|| / ||update|| of each matrix, 1 where either is zero; shaped to multiply the update."""
    axes = tuple(range(max(0, parameter.dim() - 2), parameter.dim()))
    weight = torch.linalg.vector_norm(parameter, dim=axes, keepdim=True)
    length = torch.linalg.vector_norm(update, dim=axes, keepdim=True)
    ratio = weight.clamp(max=largest) / length.clamp(min=1e-12)
    return torch.where((weight > 0) & (length > 0), ratio, torch.ones_like(ratio))
