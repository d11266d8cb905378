"""Experts of one GPT-MoE layer, fused into 3-D weights and computed without dropping a token.

Shapes: T tokens, D model, F expert width, E experts, K experts per token.

The computation is transformers' experts registry (`eager`, `batched_mm`, `grouped_mm`, ...), selected by
`model.set_experts_implementation(...)`; the loop below is its `eager` entry.
"""

import torch
import torch.nn.functional as F
from torch import nn
from transformers.integrations import use_experts_implementation

from moesaic.model.config import GPTMoEConfig

__all__ = ["GPTMoEExperts"]


@use_experts_implementation
class GPTMoEExperts(nn.Module):
    """`gate_up_proj` [E, 2F, D] (gate rows first) and `down_proj` [E, D, F], SwiGLU without biases.

    The expert count comes beside the shared configuration rather than from it, since it differs from layer to layer.
    """

    def __init__(self, config: GPTMoEConfig, num_experts: int) -> None:
        super().__init__()
        assert config.moe_intermediate_size is not None
        width = config.moe_intermediate_size
        self.num_experts = num_experts
        self.gate_up_proj = nn.Parameter(torch.empty(num_experts, 2 * width, config.hidden_size))
        self.down_proj = nn.Parameter(torch.empty(num_experts, config.hidden_size, width))
        self.act_fn = nn.SiLU()

    def forward(self, x_TD: torch.Tensor, index_TK: torch.Tensor, weight_TK: torch.Tensor) -> torch.Tensor:
        """Sum over k of weight_TK[t, k] * expert_{index_TK[t, k]}(x_TD[t]); returns [T, D] in the dtype of `x_TD`."""
        out_TD = torch.zeros_like(x_TD)
        for expert in index_TK.unique().tolist():
            token, slot = torch.where(index_TK == expert)
            gate, up = F.linear(x_TD[token], self.gate_up_proj[expert]).chunk(2, dim=-1)
            y = F.linear(self.act_fn(gate) * up, self.down_proj[expert])
            out_TD = out_TD.index_add(0, token, (y * weight_TK[token, slot, None]).to(out_TD.dtype))
        return out_TD
