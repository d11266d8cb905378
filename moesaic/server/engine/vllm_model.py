"""GPT-MoE for vLLM: Llama's modules, with every Pyramid-Residual mixture as one fused top-2 call.

- The residual MLP is expert slot E, so a mixture of E routed experts is a fused layer of E + 1, of which every token
  visits two: its router's choice with weight c0 * g, and slot E with weight c1.
- One stacked gate gives the E router logits and the 2 coefficient logits in a single fp32 product.
- Expert counts differ from layer to layer; vLLM needs no more for it than a layer of the right size.
- On a GPU the same code takes vLLM's custom-routing path. Not verified on a GPU.

Shapes: T tokens, D model, E routed experts of the layer.
"""

from collections.abc import Callable

import torch
from torch import nn
from vllm.compilation.decorators import support_torch_compile
from vllm.config import CacheConfig, VllmConfig
from vllm.model_executor.layers.fused_moe import FusedMoEFactory
from vllm.model_executor.layers.fused_moe.router.gate_linear import GateLinear
from vllm.model_executor.layers.layernorm import RMSNorm
from vllm.model_executor.layers.quantization import QuantizationConfig
from vllm.model_executor.models.interfaces import MixtureOfExperts
from vllm.model_executor.models.llama import (
    LlamaAttention,
    LlamaDecoderLayer,
    LlamaForCausalLM,
    LlamaMLP,
    LlamaModel,
)
from vllm.model_executor.models.utils import WeightsMapper, extract_layer_index
from vllm.platforms import current_platform

from moesaic.model.config import GPTMoEConfig

__all__ = [
    "GPTMoEAttention",
    "GPTMoEDecoderLayer",
    "GPTMoEForCausalLM",
    "GPTMoEModel",
    "ResidualMixture",
    "Routing",
    "residual_routing",
]

# `.mlp.` in front keeps the dense rules away from the experts, whose names vLLM maps by itself.
_MAPPER = WeightsMapper(
    orig_to_new_stacked={
        ".q_proj": (".qkv_proj", "q"),
        ".k_proj": (".qkv_proj", "k"),
        ".v_proj": (".qkv_proj", "v"),
        ".mlp.gate_proj": (".mlp.gate_up_proj", 0),
        ".mlp.up_proj": (".mlp.gate_up_proj", 1),
    }
)

Routing = Callable[..., tuple[torch.Tensor, torch.Tensor]]
"""What vLLM takes for a routing function: keywords in, weights and expert slots out."""


def residual_routing(
    experts: int, *, residual: bool, softmax_gate: bool, bias: Callable[[], torch.Tensor], companion: bool = False
) -> Routing:
    """The routing function that vLLM calls with the stacked gate's logits [T, E + 2] (or [T, E] without residual).

    It returns weights [T, 2] fp32 and expert slots [T, 2] int32. Without residual there is one column, or with
    `companion` a second one: another expert with weight 0, for kernels that fail when all tokens visit the same expert.
    `bias` gives the gate's bias: it takes part in the choice, but a softmax gate value is computed without it.
    """

    def route(
        hidden_states: torch.Tensor, gating_output: torch.Tensor, topk: int, renormalize: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        z = gating_output.float()
        index_T1 = z[:, :experts].argmax(dim=-1, keepdim=True)
        gate_T1 = None
        if softmax_gate:
            unbiased = z[:, :experts] - bias()[:experts].float()
            gate_T1 = torch.softmax(unbiased, dim=-1).gather(-1, index_T1)
        if not residual:
            weight_T1 = torch.ones_like(z[:, :1]) if gate_T1 is None else gate_T1
            if not companion:
                return weight_T1, index_T1.int()
            other_T1 = (index_T1 + 1) % experts
            return nn.functional.pad(weight_T1, (0, 1)), torch.cat([index_T1, other_T1], dim=-1).int()
        c_T2 = torch.softmax(z[:, experts:], dim=-1)
        if gate_T1 is not None:
            c_T2 = torch.cat([c_T2[:, :1] * gate_T1, c_T2[:, 1:]], dim=-1)
        return c_T2, nn.functional.pad(index_T1.int(), (0, 1), value=experts)

    return route


class GPTMoEAttention(LlamaAttention):
    """Llama's attention, with the optional normalisation of query and key heads."""

    def __init__(self, *, config: GPTMoEConfig, **options: object) -> None:
        super().__init__(config=config, **options)
        self.q_norm = RMSNorm(self.head_dim, eps=config.rms_norm_eps) if config.qk_norm else None
        self.k_norm = RMSNorm(self.head_dim, eps=config.rms_norm_eps) if config.qk_norm else None

    def forward(self, positions: torch.Tensor, hidden_states: torch.Tensor) -> torch.Tensor:
        """Attend over [T, D]; the cache is vLLM's."""
        if self.q_norm is None or self.k_norm is None:
            return super().forward(positions, hidden_states)
        qkv, _ = self.qkv_proj(hidden_states)
        q, k, v = qkv.split([self.q_size, self.kv_size, self.kv_size], dim=-1)
        q = self.q_norm(q.unflatten(-1, (-1, self.head_dim))).flatten(-2)
        k = self.k_norm(k.unflatten(-1, (-1, self.head_dim))).flatten(-2)
        q, k = self.rotary_emb(positions, q, k)
        output, _ = self.o_proj(self.attn(q, k, v))
        return output


class ResidualMixture(nn.Module):
    """A mixture of E routed experts and, in slot E, the residual MLP."""

    def __init__(
        self, config: GPTMoEConfig, experts: int, quant_config: QuantizationConfig | None, prefix: str
    ) -> None:
        super().__init__()
        residual = int(config.moe_residual)
        # zentorch's fused experts end the process when only one expert receives tokens, as in a step of one token.
        companion = not residual and current_platform.is_cpu() and current_platform.is_zen_cpu()
        self.gate = GateLinear(
            config.hidden_size,
            experts + 2 * residual,
            bias=True,
            force_fp32_compute=True,
            out_dtype=torch.float32,
            prefix=f"{prefix}.gate",
        )
        assert config.moe_intermediate_size is not None
        self.experts = FusedMoEFactory(
            num_experts=experts + residual,
            top_k=1 + residual + companion,
            hidden_size=config.hidden_size,
            intermediate_size=config.moe_intermediate_size,
            renormalize=True,
            quant_config=quant_config,
            custom_routing_function=residual_routing(
                experts,
                residual=config.moe_residual,
                softmax_gate=config.router_gate_mode == "softmax",
                bias=lambda: self.gate.bias,
                companion=companion,
            ),
            prefix=f"{prefix}.experts",
        )

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Mix for [T, D]."""
        logits, _ = self.gate(hidden_states)
        return self.experts(hidden_states, logits)


class GPTMoEDecoderLayer(LlamaDecoderLayer):
    """Llama's layer with our attention, and with a mixture where the configuration has experts."""

    def __init__(self, vllm_config: VllmConfig, prefix: str = "", config: GPTMoEConfig | None = None) -> None:
        nn.Module.__init__(self)  # not Llama's: it would first allocate the dense MLP that a mixture replaces
        config = config or vllm_config.model_config.hf_config
        quant_config = self.get_quant_config(vllm_config)
        self.hidden_size = config.hidden_size
        self.self_attn = self._attention(config, vllm_config.cache_config, quant_config, f"{prefix}.self_attn")
        experts = config.expert_counts[extract_layer_index(prefix)]
        self.mlp: nn.Module
        if experts:
            self.mlp = ResidualMixture(config, experts, quant_config, f"{prefix}.mlp")
        else:
            self.mlp = LlamaMLP(
                config.hidden_size, config.intermediate_size, config.hidden_act, quant_config, prefix=f"{prefix}.mlp"
            )
        self.input_layernorm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    @staticmethod
    def _attention(
        config: GPTMoEConfig, cache_config: CacheConfig | None, quant_config: QuantizationConfig | None, prefix: str
    ) -> GPTMoEAttention:
        return GPTMoEAttention(
            config=config,
            hidden_size=config.hidden_size,
            num_heads=config.num_attention_heads,
            num_kv_heads=config.num_key_value_heads,
            max_position_embeddings=config.max_position_embeddings,
            quant_config=quant_config,
            bias=config.attention_bias,
            bias_o_proj=config.attention_output_bias,
            cache_config=cache_config,
            prefix=prefix,
        )


@support_torch_compile(
    dynamic_arg_dims={
        "input_ids": {0: "b"},
        "positions": {0: "b"},
        "intermediate_tensors": {0: "b"},
        "inputs_embeds": {0: "b"},
    },
)
class GPTMoEModel(LlamaModel):
    """Llama's stack over our layers."""

    hf_to_vllm_mapper = _MAPPER


class GPTMoEForCausalLM(LlamaForCausalLM, MixtureOfExperts):
    """Entry point for vLLM's model registry."""

    hf_to_vllm_mapper = _MAPPER

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix, layer_type=GPTMoEDecoderLayer)
        mixtures = [
            layer.mlp for layer in self.model.layers if isinstance(getattr(layer, "mlp", None), ResidualMixture)
        ]
        config = vllm_config.model_config.hf_config
        self.moe_layers = [mixture.experts for mixture in mixtures]
        self.num_moe_layers = len(mixtures)
        self.expert_weights: list[list[torch.Tensor]] = []
        self.num_expert_groups = 1
        self.num_shared_experts = 0
        self.num_redundant_experts = 0
        self.num_routed_experts = config.num_experts
        slots = config.num_experts + int(config.moe_residual)
        self.num_logical_experts = self.num_physical_experts = self.num_local_physical_experts = slots

    def _init_model(
        self, vllm_config: VllmConfig, prefix: str = "", layer_type: type[nn.Module] = GPTMoEDecoderLayer
    ) -> nn.Module:
        return GPTMoEModel(vllm_config=vllm_config, prefix=prefix, layer_type=layer_type)
