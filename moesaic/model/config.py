"""Configuration of a GPT-MoE: a Llama-shaped decoder with Pyramid-Residual mixtures of experts in some layers.

- Expert counts are given per layer (`num_experts_per_layer`, 0 for a dense layer), because the pyramid has more experts
  in its last mixture layers; `pyramid()` builds the usual list.
- Every switch that Llama, Mistral, Qwen2 and Qwen3 attention differ by is a field here, so that their weights map
  onto this model without a rest.
- Contradictions are refused when the object is made (`ConfigError`), not when a tensor fails to fit.
"""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, LlamaConfig

from moesaic.errors import ConfigError

__all__ = ["GATE_MODES", "GPTMoEConfig", "pyramid"]

GATE_MODES = ("unit", "softmax")


def pyramid(
    num_layers: int, experts: int, experts_last: int | None = None, *, interval: int = 2, offset: int = 1, last: int = 2
) -> list[int]:
    """Expert counts per layer of a Pyramid MoE (DeepSpeed-MoE, arXiv:2201.05596, section 4.1).

    Every `interval`-th layer, beginning with layer `offset`, is a mixture of `experts` experts; the final `last` of
    these mixtures have `experts_last` instead (default: twice as many). The other layers are dense (0).
    """
    if num_layers < 1 or interval < 1 or not 0 <= offset < interval:
        raise ConfigError(
            f"no pyramid has num_layers={num_layers!r}, interval={interval!r}, offset={offset!r}: "
            "give at least one layer, an interval of at least 1 and an offset below the interval"
        )
    high = 2 * experts if experts_last is None else experts_last
    if experts < 1 or high < 1:
        raise ConfigError(f"expert counts must be at least 1 (got {experts!r} and {high!r} in the last layers)")
    mixtures = list(range(offset, num_layers, interval))
    counts = [0] * num_layers
    for rank, layer in enumerate(mixtures):
        counts[layer] = high if rank >= len(mixtures) - last else experts
    return counts


@strict
class GPTMoEConfig(LlamaConfig):
    """What a GPT-MoE is made of; the fields that Llama has keep their Llama meaning.

    Beyond Llama:

    - `num_experts_per_layer`: routed experts of each layer, one number per layer, 0 for a dense feed-forward layer.
    - `num_experts`: the largest of them (derived; serving engines recognise a mixture by it).
    - `num_experts_per_tok`: routed experts that a token visits; always 1 (Switch, arXiv:2101.03961).
    - `moe_intermediate_size`: inner width of one expert (default: `intermediate_size`).
    - `moe_residual`: add a dense MLP to every mixture, by convex coefficients (Residual-MoE, arXiv:2201.05596). The MLP
      is served as one more expert, so its width must be that of an expert.
    - `moe_residual_coef_bias_init`: initial logit of the dense branch minus that of the mixture.
    - `router_gate_mode`: `softmax` weighs the expert by its router probability (Switch); `unit` weighs it by exactly 1
      while the router still receives the gradient of the log-probability, which makes upcycling function-preserving.
    - `router_aux_loss_coef`, `router_z_loss_coef`: weights of the balance loss (Switch, section 2.2) and of the z-loss
      (ST-MoE, arXiv:2202.08906, equation 5).
    - `router_bias_update_rate`: step of the loss-free balancing bias (arXiv:2408.15664), 0 to leave it alone. Our bias
      lives in logit space, so that it folds into the bias of the served gate.
    - `router_jitter`: half-width of the multiplicative noise on the router's input while training (Switch).
    - `output_router_logits`: also return router logits and the auxiliary loss when not training.
    - `attention_output_bias`: bias of `o_proj`; `attention_bias` alone governs q, k and v (Qwen2 has the latter only).
    - `qk_norm`: RMS-normalise each query and key head (Qwen3).
    """

    model_type = "gpt_moe"
    base_model_tp_plan = None

    num_experts_per_layer: list[int] | None = None
    num_experts: int | None = None
    num_experts_per_tok: int = 1
    moe_intermediate_size: int | None = None
    moe_residual: bool = True
    moe_residual_coef_bias_init: float = 0.0
    router_gate_mode: str = "unit"
    router_aux_loss_coef: float = 0.01
    router_z_loss_coef: float = 0.001
    router_bias_update_rate: float = 0.0
    router_jitter: float = 0.0
    output_router_logits: bool = False
    attention_output_bias: bool = False
    qk_norm: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        """Fill derived fields and refuse contradictions with a `ConfigError`."""
        if self.num_experts_per_layer is None:
            self.num_experts_per_layer = [0] * self.num_hidden_layers
        self.num_experts = max(self.num_experts_per_layer, default=0)
        if self.moe_intermediate_size is None:
            self.moe_intermediate_size = self.intermediate_size
        super().__post_init__(**kwargs)
        self._check_mixture()
        self._check_router()
        self._check_attention()

    def validate_architecture(self) -> None:
        """Replace Llama's rule (hidden size divisible by the heads), which Qwen3 with its own head size breaks."""

    @property
    def expert_counts(self) -> list[int]:
        """`num_experts_per_layer`, which is never None once the object is made."""
        assert self.num_experts_per_layer is not None
        return self.num_experts_per_layer

    @property
    def moe_layers(self) -> list[int]:
        """Indices of the layers that are mixtures."""
        return [layer for layer, experts in enumerate(self.expert_counts) if experts]

    def _check_mixture(self) -> None:
        counts = self.expert_counts
        if len(counts) != self.num_hidden_layers:
            raise ConfigError(
                f"num_experts_per_layer has {len(counts)} entries for {self.num_hidden_layers} layers: "
                "give one count per layer, 0 for a dense one"
            )
        if any(count < 0 for count in counts):
            raise ConfigError(f"num_experts_per_layer={counts!r} holds a negative count: use 0 for a dense layer")
        if not self.moe_residual and 1 in counts:
            raise ConfigError(
                f"num_experts_per_layer={counts!r} has a mixture of 1 expert and no residual MLP, which is a dense "
                "layer: write 0 for it, or give it at least 2 experts"
            )
        if self.num_experts_per_tok != 1:
            raise ConfigError(f"num_experts_per_tok={self.num_experts_per_tok!r}: a GPT-MoE routes to exactly 1 expert")
        if self.moe_residual and self.moe_layers and self.moe_intermediate_size != self.intermediate_size:
            raise ConfigError(
                f"moe_intermediate_size={self.moe_intermediate_size!r} differs from intermediate_size="
                f"{self.intermediate_size!r}: with moe_residual the dense MLP is served as one more expert and must be "
                "as wide as the others; make them equal or set moe_residual=false"
            )
        if self.hidden_act != "silu" or self.mlp_bias:
            raise ConfigError(
                f"hidden_act={self.hidden_act!r}, mlp_bias={self.mlp_bias!r}: "
                "experts are SwiGLU without bias (hidden_act='silu', mlp_bias=false)"
            )

    def _check_router(self) -> None:
        if self.router_gate_mode not in GATE_MODES:
            raise ConfigError(f"router_gate_mode={self.router_gate_mode!r} is unknown: choose one of {GATE_MODES}")
        for name in ("router_aux_loss_coef", "router_z_loss_coef", "router_bias_update_rate", "router_jitter"):
            value = getattr(self, name)
            if not 0.0 <= value < (1.0 if name == "router_jitter" else float("inf")):
                raise ConfigError(f"{name}={value!r} must be a finite number of at least 0 (a jitter also below 1)")

    def _check_attention(self) -> None:
        heads, groups = self.num_attention_heads, self.num_key_value_heads
        if not heads or not groups or heads % groups:
            raise ConfigError(
                f"num_attention_heads={heads!r} is not a multiple of num_key_value_heads={groups!r}: "
                "every key/value head must serve the same number of query heads"
            )


AutoConfig.register("gpt_moe", GPTMoEConfig, exist_ok=True)
