"""The router of a GPT-MoE layer: which expert a token visits, and how much each branch counts.

Shapes: T tokens, D model, E experts of this layer.

The router and the branch coefficients are computed in fp32 whatever the model's precision: near ties decide which
expert runs, and a bf16 router flips them. Under autocast a product of fp32 tensors would be rounded too, so they switch
it off for themselves. Their weights are parameters of their own modules rather than `nn.Linear`, so that tools which
wrap or quantize every linear layer leave them alone.
"""

import torch
import torch.nn.functional as F
from torch import nn

from moesaic.model.config import GPTMoEConfig

__all__ = ["BranchCoefficients", "GPTMoERouter"]


class GPTMoERouter(nn.Module):
    """Top-1 router (Switch Transformers, arXiv:2101.03961, section 2.1) with an optional balancing bias.

    `weight` [E, D] fp32; `bias` [E] fp32 is a persistent buffer without gradient.

    How this differs from the sources:

    1. The balancing bias (arXiv:2408.15664) is added to the logits, not to a score, so that serving needs no
       more than the bias of a linear layer. It decides the selection only; the gate value ignores it.
    2. `router_gate_mode="unit"` gives the expert a weight of exactly 1 in the forward pass and d log p / dz in the
       backward pass: p / stop_gradient(p).
    """

    def __init__(self, config: GPTMoEConfig, num_experts: int) -> None:
        super().__init__()
        self.num_experts = num_experts
        self.gate_mode = config.router_gate_mode
        self.jitter = config.router_jitter
        self.weight = nn.Parameter(torch.empty(num_experts, config.hidden_size, dtype=torch.float32))
        self.bias: torch.Tensor
        self.register_buffer("bias", torch.zeros(num_experts, dtype=torch.float32))

    def forward(self, x_TD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return logits [T, E] fp32 (without the bias), gate values [T, 1] fp32 and expert indices [T, 1]."""
        x_TD = x_TD.float()
        if self.training and self.jitter:
            x_TD = x_TD * torch.empty_like(x_TD).uniform_(1.0 - self.jitter, 1.0 + self.jitter)
        with torch.autocast(x_TD.device.type, enabled=False):
            z_TE = F.linear(x_TD, self.weight.float())
        index_T1 = self.select(z_TE)
        if self.gate_mode == "softmax":
            gate_T1 = torch.softmax(z_TE, dim=-1).gather(-1, index_T1)
        else:
            logp_T1 = torch.log_softmax(z_TE, dim=-1).gather(-1, index_T1)
            gate_T1 = torch.exp(logp_T1 - logp_T1.detach())
        return z_TE, gate_T1, index_T1

    def select(self, z_TE: torch.Tensor) -> torch.Tensor:
        """Index [T, 1] of the expert with the largest biased logit."""
        return (z_TE.detach() + self.bias.float()).argmax(dim=-1, keepdim=True)

    @torch.no_grad()
    def balance(self, load_E: torch.Tensor, rate: float) -> None:
        """Move the bias by `rate` towards experts with less than the mean load (arXiv:2408.15664, algorithm 1).

        `load_E` holds the tokens that each expert received since the last optimizer step, summed over
        micro-batches and processes.
        """
        load_E = load_E.to(self.bias)
        self.bias += rate * torch.sign(load_E.mean() - load_E)


class BranchCoefficients(nn.Module):
    """Convex weights of the routed and the residual branch (DeepSpeed-MoE, arXiv:2201.05596, section 4.1).

    `weight` [2, D] and `bias` [2], fp32; row 0 belongs to the routed expert, row 1 to the residual MLP.
    """

    def __init__(self, config: GPTMoEConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(2, config.hidden_size, dtype=torch.float32))
        self.bias = nn.Parameter(torch.empty(2, dtype=torch.float32))

    def forward(self, x_TD: torch.Tensor) -> torch.Tensor:
        """Coefficients [T, 2] fp32, each row summing to 1."""
        with torch.autocast(x_TD.device.type, enabled=False):
            return torch.softmax(F.linear(x_TD.float(), self.weight.float(), self.bias.float()), dim=-1)
