"""Causal self-attention of a GPT-MoE: Llama's, with the switches by which Mistral, Qwen2 and Qwen3 differ from it.

Shapes: B batch, S sequence, N heads, H head size, D model.
"""

from typing import Any

import torch
from torch import nn
from transformers.cache_utils import Cache
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import (
    LlamaAttention,
    LlamaRMSNorm,
    apply_rotary_pos_emb,
    eager_attention_forward,
)

from moesaic.model.config import GPTMoEConfig

__all__ = ["GPTMoEAttention"]


class GPTMoEAttention(LlamaAttention):
    """Grouped-query attention with rotary positions.

    Differs from Llama's in two switches of the configuration: (1) `o_proj` has a bias only by `attention_output_bias`;
    (2) `qk_norm` normalises each query and key head before the rotation (Qwen3 technical report, arXiv:2505.09388,
    section 2).
    """

    def __init__(self, config: GPTMoEConfig, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        assert config.head_dim is not None
        self.o_proj = nn.Linear(
            config.num_attention_heads * config.head_dim, config.hidden_size, bias=config.attention_output_bias
        )
        self.q_norm = LlamaRMSNorm(config.head_dim, eps=config.rms_norm_eps) if config.qk_norm else None
        self.k_norm = LlamaRMSNorm(config.head_dim, eps=config.rms_norm_eps) if config.qk_norm else None

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
        attention_mask: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attend over `hidden_states` [B, S, D]; returns [B, S, D] and the attention weights if they were computed."""
        assert position_embeddings is not None
        heads = (*hidden_states.shape[:-1], -1, self.head_dim)
        q_BSNH = self.q_proj(hidden_states).view(heads)
        k_BSNH = self.k_proj(hidden_states).view(heads)
        if self.q_norm is not None and self.k_norm is not None:
            q_BSNH, k_BSNH = self.q_norm(q_BSNH), self.k_norm(k_BSNH)
        v_BNSH = self.v_proj(hidden_states).view(heads).transpose(1, 2)
        q_BNSH, k_BNSH = apply_rotary_pos_emb(q_BSNH.transpose(1, 2), k_BSNH.transpose(1, 2), *position_embeddings)

        if past_key_values is not None:
            k_BNSH, v_BNSH = past_key_values.update(k_BNSH, v_BNSH, self.layer_idx)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        mixed, weights = attend(
            self,
            q_BNSH,
            k_BNSH,
            v_BNSH,
            attention_mask,
            dropout=self.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
            **kwargs,
        )
        return self.o_proj(mixed.reshape(*hidden_states.shape[:-1], -1).contiguous()), weights
