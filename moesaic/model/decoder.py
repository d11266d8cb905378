"""The GPT-MoE decoder stack: embeddings, layers of attention and (dense or mixed) feed-forward, final norm."""

from typing import Any

import torch
from torch import nn
from transformers import initialization as init
from transformers.cache_utils import Cache, DynamicCache
from transformers.masking_utils import create_causal_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import MoeModelOutputWithPast
from transformers.modeling_utils import PreTrainedModel
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm, LlamaRotaryEmbedding
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from moesaic.model.attention import GPTMoEAttention
from moesaic.model.config import GPTMoEConfig
from moesaic.model.experts import GPTMoEExperts
from moesaic.model.mixture import ResidualMixture
from moesaic.model.router import BranchCoefficients, GPTMoERouter

__all__ = ["GPTMoEDecoderLayer", "GPTMoEModel", "GPTMoEPreTrainedModel"]


class GPTMoEDecoderLayer(GradientCheckpointingLayer):
    """Pre-norm attention and feed-forward, each with a skip connection."""

    def __init__(self, config: GPTMoEConfig, layer_idx: int) -> None:
        super().__init__()
        experts = config.expert_counts[layer_idx]
        self.self_attn = GPTMoEAttention(config, layer_idx)
        self.mlp: nn.Module = ResidualMixture(config, experts) if experts else LlamaMLP(config)
        self.input_layernorm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """Transform [B, S, D] into [B, S, D]."""
        attended, _ = self.self_attn(self.input_layernorm(hidden_states), **kwargs)
        hidden_states = hidden_states + attended
        return hidden_states + self.mlp(self.post_attention_layernorm(hidden_states))


class GPTMoEPreTrainedModel(PreTrainedModel):
    """What transformers needs to know about every GPT-MoE."""

    config_class = GPTMoEConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["GPTMoEDecoderLayer"]
    _skip_keys_device_placement = ["past_key_values"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    # Near ties decide which expert runs: the router keeps fp32 weights in a model of any precision.
    _keep_in_fp32_modules_strict = {"mlp.gate.weight", "mlp.gate.bias", "mlp.coefficients"}
    _can_record_outputs = {
        "router_logits": OutputRecorder(GPTMoERouter, index=0),
        "hidden_states": GPTMoEDecoderLayer,
        "attentions": GPTMoEAttention,
    }

    @classmethod
    def _can_set_experts_implementation(cls) -> bool:
        """Yes: transformers would look for the experts' decorator in this file, and it stands in `experts.py`."""
        return True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        std = self.config.initializer_range
        if isinstance(module, GPTMoEExperts):
            init.normal_(module.gate_up_proj, mean=0.0, std=std)
            init.normal_(module.down_proj, mean=0.0, std=std)
        elif isinstance(module, GPTMoERouter):
            init.normal_(module.weight, mean=0.0, std=std)
            init.zeros_(module.bias)
        elif isinstance(module, BranchCoefficients):
            init.normal_(module.weight, mean=0.0, std=std)
            init.copy_(module.bias, torch.tensor([0.0, self.config.moe_residual_coef_bias_init]))


class GPTMoEModel(GPTMoEPreTrainedModel):
    """Token ids [B, S] to final hidden states [B, S, D]."""

    def __init__(self, config: GPTMoEConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.layers = nn.ModuleList(GPTMoEDecoderLayer(config, layer) for layer in range(config.num_hidden_layers))
        self.norm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.rotary_emb = LlamaRotaryEmbedding(config=config)
        self.gradient_checkpointing = False
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> MoeModelOutputWithPast:
        """Run the stack on `input_ids` or on `inputs_embeds` (exactly one of them)."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")

        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        if position_ids is None:
            seen = past_key_values.get_seq_length() if past_key_values is not None else 0
            position_ids = (torch.arange(inputs_embeds.shape[1], device=inputs_embeds.device) + seen).unsqueeze(0)

        mask = create_causal_mask(
            config=self.config,
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            position_ids=position_ids,
        )
        position_embeddings = self.rotary_emb(inputs_embeds, position_ids=position_ids)
        hidden_states = inputs_embeds
        for layer in self.layers:
            hidden_states = layer(
                hidden_states,
                attention_mask=mask,
                position_embeddings=position_embeddings,
                past_key_values=past_key_values,
                **kwargs,
            )
        return MoeModelOutputWithPast(last_hidden_state=self.norm(hidden_states), past_key_values=past_key_values)
