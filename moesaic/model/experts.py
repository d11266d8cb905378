"""Experts of one GPT-MoE layer, fused into 3-D weights and computed without dropping a token.

Shapes: T tokens, D model, F expert width, E experts, K experts per token.

The computation is transformers' experts registry (`eager`, `batched_mm`, `grouped_mm`, ...), selected by
`model.set_experts_implementation(...)`; the loop below is its `eager` entry.

Autocast does not know grouped products: in a bf16 run experts of fp32 would be computed in fp32, and they are most of
what a mixture computes. So the weights are rounded here, as autocast rounds those of a linear layer.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn
from transformers.integrations import use_experts_implementation

from moesaic.model.config import GPTMoEConfig

__all__ = ["GPTMoEExperts"]


@use_experts_implementation
class _FusedExperts(nn.Module):
    """The computation in the precision that the weights have."""

    def __init__(self, config: GPTMoEConfig, num_experts: int) -> None:
        super().__init__()
        assert config.moe_intermediate_size is not None
        width = config.moe_intermediate_size
        self.num_experts = num_experts
        self.gate_up_proj = nn.Parameter(torch.empty(num_experts, 2 * width, config.hidden_size))
        self.down_proj = nn.Parameter(torch.empty(num_experts, config.hidden_size, width))
        self.act_fn = nn.SiLU()

    def forward(self, x_TD: torch.Tensor, index_TK: torch.Tensor, weight_TK: torch.Tensor) -> torch.Tensor:
        out_TD = torch.zeros_like(x_TD)
        for expert in index_TK.unique().tolist():
            token, slot = torch.where(index_TK == expert)
            gate, up = F.linear(x_TD[token], self.gate_up_proj[expert]).chunk(2, dim=-1)
            y = F.linear(self.act_fn(gate) * up, self.down_proj[expert])
            out_TD = out_TD.index_add(0, token, (y * weight_TK[token, slot, None]).to(out_TD.dtype))
        return out_TD


class _Rounded:
    """Experts with rounded weights; everything else is theirs."""

    def __init__(self, experts: _FusedExperts, dtype: torch.dtype) -> None:
        self._experts = experts
        self.gate_up_proj = experts.gate_up_proj.to(dtype)
        self.down_proj = experts.down_proj.to(dtype)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._experts, name)


class GPTMoEExperts(_FusedExperts):
    """`gate_up_proj` [E, 2F, D] (gate rows first) and `down_proj` [E, D, F], SwiGLU without biases.

    The expert count comes beside the shared configuration rather than from it, since it differs from layer to layer.
    """

    def forward(self, x_TD: torch.Tensor, index_TK: torch.Tensor, weight_TK: torch.Tensor) -> torch.Tensor:
        """Sum over k of weight_TK[t, k] * expert_{index_TK[t, k]}(x_TD[t]); returns [T, D] in the dtype of `x_TD`."""
        device, config = x_TD.device.type, cast(GPTMoEConfig, self.config)
        # The loop's linear products are rounded by autocast itself, those of the experts that a token visits.
        if not torch.is_autocast_enabled(device) or config._experts_implementation in (None, "eager"):
            return super().forward(x_TD, index_TK, weight_TK)
        rounded: Any = _Rounded(self, torch.get_autocast_dtype(device))
        return _FusedExperts.forward(rounded, x_TD, index_TK, weight_TK)
