"""Sizes of models to train from scratch, by name; every field can be overridden in the recipe.

- `tiny` and `small` train on a laptop's CPU. Their `-dense` twins spend the same operations per token: a mixture layer
  computes two feed-forward networks (residual and one expert) where other layers compute one, so that every layer of
  the twin is half as wide again.
- `pai-16b` is the shape of Alibaba PAI's GPT-MoE: 24 layers, width 2048, 16 heads, mixtures of 32 experts in every
  second layer and of 64 in the last two, context 2048, vocabulary 51200. How it differs: its feed-forward networks are
  SwiGLU (three matrices of width 5504) instead of GELU (two of width 8192), which is nearly as many parameters; and
  positions are rotary.
"""

from collections.abc import Mapping
from typing import Any

from moesaic.errors import RecipeError
from moesaic.model.config import pyramid

__all__ = ["PRESETS", "preset_fields"]

_FROM_SCRATCH: dict[str, Any] = {
    "router_gate_mode": "softmax",
    "moe_residual_coef_bias_init": 0.0,
    "rms_norm_eps": 1e-5,
}

_TINY: dict[str, Any] = {
    **_FROM_SCRATCH,
    "vocab_size": 8192,
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 1024,
    "num_experts_per_layer": pyramid(4, 2, 4, last=1),
    "tie_word_embeddings": True,
}

_SMALL: dict[str, Any] = {
    **_FROM_SCRATCH,
    "vocab_size": 8192,
    "hidden_size": 160,
    "intermediate_size": 448,
    "num_hidden_layers": 6,
    "num_attention_heads": 5,
    "num_key_value_heads": 5,
    "max_position_embeddings": 1024,
    "num_experts_per_layer": pyramid(6, 2, 4, last=1),
    "tie_word_embeddings": True,
}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "tiny": _TINY,
    "tiny-dense": _TINY | {"num_experts_per_layer": [0] * 4, "intermediate_size": 576},
    "small": _SMALL,
    "small-dense": _SMALL | {"num_experts_per_layer": [0] * 6, "intermediate_size": 672},
    "pai-16b": {
        **_FROM_SCRATCH,
        "vocab_size": 51200,
        "hidden_size": 2048,
        "intermediate_size": 5504,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "max_position_embeddings": 2048,
        "num_experts_per_layer": pyramid(24, 32, 64),
        "tie_word_embeddings": True,
        "initializer_range": 0.014,
    },
}
"""Fields of `GPTMoEConfig` by name of the preset."""


def preset_fields(name: str) -> dict[str, Any]:
    """The fields of a preset; raises `RecipeError` for an unknown one."""
    if name not in PRESETS:
        raise RecipeError(f"model.preset={name!r} is unknown: choose one of {', '.join(PRESETS)}")
    return dict(PRESETS[name])
