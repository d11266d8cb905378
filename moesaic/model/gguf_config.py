"""From the metadata of a GGUF file to a Hugging Face configuration.

- Only Llama (which in GGUF includes Mistral), Qwen2 and Qwen3 are mapped; a mixture under such a name is refused.
- A rotary scaling that Llama 3 files carry as one factor per frequency (`rope_freqs.weight`) is traced back to the four
  numbers that make those factors, and refused if none does. (transformers' own GGUF loading drops it.)
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from moesaic.errors import UnsupportedModelError

__all__ = ["GGUF_ARCHITECTURES", "gguf_config", "llama3_factors"]

GGUF_ARCHITECTURES = ("llama", "qwen2", "qwen3")

_LLAMA3_LENGTHS = (8192, 4096, 2048, 16384, 32768)
_PLAIN = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
}


def gguf_config(
    metadata: Mapping[str, Any],
    *,
    vocab_size: int,
    tensor_names: Sequence[str],
    frequency_factors: Sequence[float] | None,
    where: str,
) -> dict[str, Any]:
    """Content of the `config.json` that this file's model would have, still to be checked by `dense_config`.

    `vocab_size` is the number of rows of the embedding, `frequency_factors` the content of `rope_freqs.weight`.
    Raises `UnsupportedModelError`.
    """
    architecture = metadata.get("general.architecture")
    if architecture not in GGUF_ARCHITECTURES:
        raise UnsupportedModelError(
            f"{where} has the architecture {architecture!r}: supported in GGUF files are "
            f"{', '.join(GGUF_ARCHITECTURES)} (Mistral files are marked llama)"
        )
    if metadata.get(f"{architecture}.expert_count"):
        raise UnsupportedModelError(f"{where} is a mixture ({architecture}.expert_count): give a dense model")
    if missing := [name for name in _PLAIN if f"{architecture}.{name}" not in metadata]:
        raise UnsupportedModelError(f"{where} lacks {architecture}.{missing[0]}: use a complete conversion")
    config: dict[str, Any] = {new: metadata[f"{architecture}.{old}"] for old, new in _PLAIN.items()}
    # Stored as float32: seven digits give back the number that was meant, which rounds to the same float32.
    config["rms_norm_eps"] = float(f"{config['rms_norm_eps']:.7g}")
    heads = config["num_attention_heads"]
    config["num_key_value_heads"] = metadata.get(f"{architecture}.attention.head_count_kv", heads)
    if uneven := [name for name, value in config.items() if isinstance(value, list)]:
        raise UnsupportedModelError(f"{where} varies {uneven[0]} from layer to layer: only even layers are supported")
    config |= {"model_type": architecture, "hidden_act": "silu", "vocab_size": vocab_size, "dtype": "float32"}
    config["head_dim"] = _head_dim(metadata, architecture, config["hidden_size"] // heads, where)
    config["rope_parameters"] = _rope(metadata, architecture, config, frequency_factors, where)
    config["tie_word_embeddings"] = "output.weight" not in tensor_names
    for name, key in (("bos_token_id", "bos"), ("eos_token_id", "eos"), ("pad_token_id", "padding")):
        config[name] = metadata.get(f"tokenizer.ggml.{key}_token_id")
    if architecture != "qwen2":
        config["attention_bias"] = "blk.0.attn_output.bias" in tensor_names
    if architecture == "llama":
        config["mlp_bias"] = "blk.0.ffn_down.bias" in tensor_names
    if window := metadata.get(f"{architecture}.attention.sliding_window"):
        config |= {"sliding_window": window, "use_sliding_window": True, "max_window_layers": 0}
    return config


def llama3_factors(rope: Mapping[str, Any], head_dim: int) -> list[float]:
    """By what each of the `head_dim / 2` rotary frequencies is divided under Llama 3's scaling.

    Frequencies whose wavelength fits the original context `high_freq_factor` times stay, those that fit it less than
    `low_freq_factor` times are divided by `factor`, and between the two the inverse is interpolated.
    """
    length, factor = rope["original_max_position_embeddings"], rope["factor"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    factors = []
    for pair in range(head_dim // 2):
        turns = length / (2 * math.pi * rope["rope_theta"] ** (2 * pair / head_dim))
        kept = min(1.0, max(0.0, (turns - low) / (high - low)))
        factors.append(1.0 / ((1.0 - kept) / factor + kept))
    return factors


def _head_dim(metadata: Mapping[str, Any], architecture: str, default: int, where: str) -> int:
    """Width of one head; keys, values and the rotated part must agree on it."""
    head_dim = metadata.get(f"{architecture}.attention.key_length")
    if head_dim is None:
        head_dim = metadata.get(f"{architecture}.rope.dimension_count", default)
    for name in ("attention.value_length", "rope.dimension_count"):
        if (width := metadata.get(f"{architecture}.{name}", head_dim)) != head_dim:
            raise UnsupportedModelError(
                f"{where} has {architecture}.{name}={width} for heads of {head_dim}: keys, values and the rotary "
                "embedding must all span a whole head"
            )
    return int(head_dim)


def _rope(
    metadata: Mapping[str, Any],
    architecture: str,
    config: Mapping[str, Any],
    factors: Sequence[float] | None,
    where: str,
) -> dict[str, Any]:
    """The rotary embedding in transformers' form."""
    key = f"{architecture}.rope.scaling."
    rope: dict[str, Any] = {
        "rope_type": "default",
        "rope_theta": metadata.get(f"{architecture}.rope.freq_base", 10000.0),
    }
    kind, scale = metadata.get(f"{key}type", "none"), metadata.get(f"{key}factor", 1.0)
    scale = metadata.get(f"{architecture}.rope.scale_linear", scale)
    if kind == "none" and scale != 1.0:
        kind = "linear"
    attention = metadata.get(f"{key}attn_factor", 1.0)
    if kind not in ("none", "linear", "yarn") or attention != 1.0:
        raise UnsupportedModelError(
            f"{where} scales its rotary embedding by {kind!r} with attention factor {attention}: supported are "
            "linear, yarn and llama3, with factor 1"
        )
    if factors is not None:
        return _llama3_rope(rope, config["head_dim"], factors, kind, where)
    if kind == "linear" and scale != 1.0:
        return rope | {"rope_type": "linear", "factor": scale}
    if kind == "yarn":
        rope |= {"rope_type": "yarn", "factor": scale}
        rope["original_max_position_embeddings"] = metadata.get(
            f"{key}original_context_length", config["max_position_embeddings"]
        )
        names = {"yarn_beta_fast": "beta_fast", "yarn_beta_slow": "beta_slow"}
        return rope | {new: metadata[key + old] for old, new in names.items() if key + old in metadata}
    return rope


def _llama3_rope(
    rope: dict[str, Any], head_dim: int, factors: Sequence[float], kind: str, where: str
) -> dict[str, Any]:
    """Llama 3's four numbers behind stored factors: the largest is `factor`, the original length is found by trial."""
    if all(factor == 1.0 for factor in factors):
        return rope
    for length in _LLAMA3_LENGTHS:
        candidate = rope | {
            "rope_type": "llama3",
            "factor": float(round(max(factors), 3)),
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": length,
        }
        expected = llama3_factors(candidate, head_dim)
        fits = len(expected) == len(factors) and all(
            math.isclose(want, found, rel_tol=1e-4) for want, found in zip(expected, factors, strict=True)
        )
        if fits and kind == "none":
            return candidate
    raise UnsupportedModelError(
        f"{where} scales {len(factors)} rotary frequencies by factors that no Llama 3 setting gives: give the model's "
        "safetensors folder instead"
    )
