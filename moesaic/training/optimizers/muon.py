"""Muon: the momentum of each hidden matrix, orthogonalized; for fused experts, of each expert by itself.

Sources: K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024); Moonlight, "Muon is
Scalable for LLM Training" (arXiv:2502.16982, section 2.2: weight decay, and updates scaled by 0.2 sqrt(max(m, n)) so
that AdamW's learning rate and decay carry over).

How this differs:

1. A parameter may be [E, m, n], one matrix per expert: all of them are orthogonalized in one batched product.
   (`torch.optim.Muon` refuses three dimensions.)
2. The experts' `gate_up_proj` [E, 2F, D] holds two matrices one above the other; they are taken apart first, since the
   orthogonal factor of a stack is not the stack of the factors.
3. The iteration runs in fp32 on a CPU, where bf16 saves nothing, and in bf16 on an accelerator.
4. A sharded parameter (`DTensor`) whose matrices lie whole in each shard, as experts do, is treated shard by shard;
   other matrices are gathered for the iteration.

Shapes: E experts, m rows, n columns.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor

from moesaic.training.optimizers.matrix_optimizer import MatrixOptimizer

__all__ = ["COEFFICIENTS", "Muon", "orthogonalized"]

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic Newton-Schulz iteration: steep at 0, and every singular value ends between about 0.7 and 1.2."""


def orthogonalized(x: torch.Tensor, iterations: int = 5) -> torch.Tensor:
    """Approximately U V^T of each matrix U S V^T in [..., m, n]; fp32, a matrix of zeros stays zero.

    Singular values end near 1, not at 1: five quintic steps bring them into about 0.7 to 1.2.
    """
    a, b, c = COEFFICIENTS
    kind = torch.bfloat16 if x.is_cuda else torch.float32
    tall = x.shape[-2] > x.shape[-1]
    y = x.to(kind)
    y = y.mT if tall else y
    y = y / (torch.linalg.matrix_norm(y.float(), keepdim=True).to(kind) + 1e-7)
    for _ in range(iterations):
        gram = y @ y.mT
        y = a * y + (b * gram + c * (gram @ gram)) @ y
    return (y.mT if tall else y).float()


class Muon(MatrixOptimizer):
    """Muon for hidden matrices alone; embeddings, heads, routers and vectors belong to another optimizer.

    Args:
        params: groups of parameters of two or three dimensions.
        lr: learning rate, as one would give AdamW.
        momentum: decay of the momentum, Nesterov's form.
        weight_decay: decoupled, multiplied by the learning rate.
        iterations: Newton-Schulz steps.
        halves: ids of parameters that hold two matrices one above the other.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.1,
        iterations: int = 5,
        halves: frozenset[int] = frozenset(),
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self._iterations = iterations
        self._halves = halves

    def _update(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        assert parameter.grad is not None
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum = state["momentum"]
        momentum.mul_(group["momentum"]).add_(parameter.grad)
        direction = parameter.grad.add(momentum, alpha=group["momentum"])  # Nesterov
        update = self._direction(direction, id(parameter) in self._halves)
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(update.to(parameter.dtype), alpha=-group["lr"])

    def _direction(self, direction: torch.Tensor, halved: bool) -> torch.Tensor:
        if not isinstance(direction, DTensor):
            return self._scaled(direction, halved)
        whole = direction.dim() == 3 and all(
            place.is_shard(0) or place.is_replicate() for place in direction.placements
        )
        mesh, places = direction.device_mesh, direction.placements
        if whole:
            local = self._scaled(direction.to_local(), halved)
            return DTensor.from_local(
                local, mesh, places, run_check=False, shape=direction.shape, stride=direction.stride()
            )
        return distribute_tensor(self._scaled(direction.full_tensor(), halved), mesh, places, src_data_rank=None)

    def _scaled(self, direction: torch.Tensor, halved: bool) -> torch.Tensor:
        """The orthogonal factor of each matrix, with root mean square 0.2 per entry whatever the shape."""
        shape = direction.shape
        if halved:
            direction = direction.unflatten(-2, (2, shape[-2] // 2))
        scale = 0.2 * max(direction.shape[-2:]) ** 0.5
        return (scale * orthogonalized(direction, self._iterations)).reshape(shape)
