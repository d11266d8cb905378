"""One Pyramid-Residual mixture layer: a routed expert and a dense MLP, mixed by convex coefficients.

Shapes: B batch, S sequence, T = B * S tokens, D model, E experts of this layer.
"""

import torch
from torch import nn
from transformers.models.llama.modeling_llama import LlamaMLP

from moesaic.model.config import GPTMoEConfig
from moesaic.model.experts import GPTMoEExperts
from moesaic.model.router import BranchCoefficients, GPTMoERouter

__all__ = ["ResidualMixture"]


class ResidualMixture(nn.Module):
    """y = c0(x) * g(x) * expert_top1(x) + c1(x) * MLP(x), c0 + c1 = 1 (DeepSpeed-MoE, arXiv:2201.05596, section 4.1).

    Without `moe_residual` it is y = g(x) * expert_top1(x), a Switch layer.

    How this differs from DeepSpeed's layer: (1) the coefficients are normalised over the two branches of each token
    (an early release normalised over the wrong dimension); (2) they and the router run in fp32; (3) no token is
    ever dropped. At serving the MLP is expert number E of a fused top-2 call; `moesaic.model.checkpoint` maps it.
    """

    def __init__(self, config: GPTMoEConfig, num_experts: int) -> None:
        super().__init__()
        self.gate = GPTMoERouter(config, num_experts)
        self.experts = GPTMoEExperts(config, num_experts)
        self.coefficients = BranchCoefficients(config) if config.moe_residual else None
        self.residual = LlamaMLP(config) if config.moe_residual else None

    def forward(self, x_BSD: torch.Tensor) -> torch.Tensor:
        """Mix the branches for every token; returns [B, S, D]."""
        x_TD = x_BSD.reshape(-1, x_BSD.shape[-1])
        _, weight_T1, index_T1 = self.gate(x_TD)
        if self.coefficients is None or self.residual is None:
            return self.experts(x_TD, index_T1, weight_T1).reshape(x_BSD.shape)
        c_T2 = self.coefficients(x_TD)
        routed_TD = self.experts(x_TD, index_T1, weight_T1 * c_T2[:, :1])
        dense_TD = (self.residual(x_TD) * c_T2[:, 1:]).to(routed_TD.dtype)
        return (routed_TD + dense_TD).reshape(x_BSD.shape)
