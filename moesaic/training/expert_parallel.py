"""Expert parallelism: the experts of every mixture divided over the processes, tokens sent to those who hold theirs.

GShard (arXiv:2006.16668, section 3): one all-to-all brings each token to its expert, a second one brings the result
back; everything else is computed where the token is. How this differs:

1. No capacity: as many rows are exchanged as there are tokens for an expert, so none is dropped and none is padding.
2. The weight of the routed branch is applied after the way back, where its gradient is needed.
3. The experts are `DTensor`s of which each process has its rows: optimizers, checkpoints and the artifact see whole
   experts, and a run may go on with another number of processes, or without expert parallelism.
4. Every process also computes one row of zeros, for its first expert: a process that no token comes to still takes part
   in the backward pass, and its experts have gradients (of zero).

Shapes: T tokens, K experts per token, R = T * K rows sent, D model, E experts of a layer, N processes.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard

from moesaic.errors import RecipeError
from moesaic.model.experts import GPTMoEExperts

__all__ = ["ParallelExperts", "check_expert_parallel", "parallel_experts"]


def check_expert_parallel(model: Any, parts: int, processes: int) -> None:
    """Raise `RecipeError` unless the experts of a model can be divided into `parts`, one for each process."""
    if parts == 1:
        return
    if parts != processes:
        raise RecipeError(
            f"distributed.expert_parallel={parts} with {processes} process(es): set it to {processes}, or to 1 for "
            "whole experts in every process"
        )
    counts = sorted({mixture.experts.num_experts for mixture in getattr(model, "mixtures", ())})
    if not counts:
        raise RecipeError(f"distributed.expert_parallel={parts} needs a mixture, and the model is dense: set it to 1")
    if odd := [count for count in counts if count % parts]:
        raise RecipeError(
            f"distributed.expert_parallel={parts} does not divide the {odd[0]} experts of a layer evenly: "
            f"take a number of processes that divides each of {counts}, or set it to 1"
        )


def parallel_experts(model: Any, mesh: DeviceMesh) -> list[str]:
    """Divide the experts of a model over a mesh of one dimension, in place; returns the names of their parameters.

    Call it in every process; the experts may be on the meta device.
    """
    # A group of its own: an exchange never waits behind the gradients that wrappers exchange.
    group = dist.new_group(mesh.mesh.tolist())
    for mixture in model.mixtures:
        mixture.experts = ParallelExperts(mixture.experts, mesh, group)
    owned = [(path, module) for path, module in model.named_modules() if isinstance(module, ParallelExperts)]
    return [f"{path}.{name}" for path, module in owned for name, _ in module.named_parameters(recurse=False)]


class ParallelExperts(GPTMoEExperts):
    """The experts of one layer, of which this process computes some for the tokens of all processes."""

    def __init__(self, experts: GPTMoEExperts, mesh: DeviceMesh, group: dist.ProcessGroup) -> None:
        config: Any = experts.config
        with torch.device("meta"):
            super().__init__(config, experts.num_experts)
            own = GPTMoEExperts(config, experts.num_experts // mesh.size())
        # Computes with this process's weights, which it is given; in a list, so that it is no part of the model.
        self._own = [own]
        self._size, self._group = mesh.size(), group
        for name, whole in experts.named_parameters(recurse=False):
            part = whole.detach().chunk(mesh.size())[mesh.get_local_rank()].clone()
            rows = DTensor.from_local(part, mesh, [Shard(0)], run_check=False, shape=whole.shape, stride=whole.stride())
            setattr(self, name, nn.Parameter(rows, requires_grad=whole.requires_grad))

    def forward(self, x_TD: torch.Tensor, index_TK: torch.Tensor, weight_TK: torch.Tensor) -> torch.Tensor:
        """As that of `GPTMoEExperts`; all processes call it together."""
        own = self._own[0]
        index_R = index_TK.reshape(-1)
        order_R = torch.argsort(index_R, stable=True)
        token_R = order_R // index_TK.shape[1]
        sent_E = torch.bincount(index_R, minlength=self.num_experts)
        got_E = torch.empty_like(sent_E)  # [N, experts of this process], flat
        dist.all_to_all_single(got_E, sent_E, group=self._group)
        there = sent_E.view(self._size, -1).sum(dim=1).tolist()
        here = got_E.view(self._size, -1).sum(dim=1).tolist()
        expert = torch.arange(own.num_experts, device=x_TD.device).repeat(self._size).repeat_interleave(got_E)

        rows = _exchanged(x_TD[token_R], there, here, self._group)
        rows = torch.cat([rows, rows.new_zeros(1, rows.shape[1])])
        expert = torch.cat([expert, expert.new_zeros(1)])
        ones = torch.ones(len(rows), 1, device=rows.device, dtype=weight_TK.dtype)
        weights = {name: self._local(parameter) for name, parameter in self.named_parameters(recurse=False)}
        out = torch.func.functional_call(own, weights, (rows, expert[:, None], ones))[:-1]
        y_RD = _exchanged(out, here, there, self._group)
        weighted = (y_RD * weight_TK.reshape(-1)[order_R, None]).to(x_TD.dtype)
        return torch.zeros_like(x_TD).index_add(0, token_R, weighted)

    def _local(self, parameter: Any) -> torch.Tensor:
        """This process's rows of a parameter, with the gradient that the other parameters have."""
        local: torch.Tensor = parameter.to_local()
        if local.requires_grad:
            # Gradients of the tokens of all processes arrive here as a sum; of other weights wrappers take the mean.
            local.register_hook(lambda gradient: gradient / self._size)
        return local


def _exchanged(rows: torch.Tensor, sent: list[int], got: list[int], group: dist.ProcessGroup) -> torch.Tensor:
    """Send `sent[n]` rows to each process n, in order; returns the `got[n]` rows of each, with gradient."""
    exchanged: torch.Tensor = _Exchange.apply(rows, sent, got, group)
    return exchanged


class _Exchange(torch.autograd.Function):
    """All-to-all of rows, whose gradient is the all-to-all the other way."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, sent: list[int], got: list[int], group: Any) -> torch.Tensor:
        ctx.sent, ctx.got, ctx.group = sent, got, group
        received = rows.new_empty(sum(got), rows.shape[1])
        dist.all_to_all_single(received, rows.contiguous(), got, sent, group=group)
        return received

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (gradient,) = gradients
        back = gradient.new_empty(sum(ctx.sent), gradient.shape[1])
        dist.all_to_all_single(back, gradient.contiguous(), ctx.sent, ctx.got, group=ctx.group)
        return back, None, None, None
