"""What a dense base model is: its checked configuration, and the tensors that go with it.

- One dictionary for Llama, Mistral, Qwen2 and Qwen3, with every field written out that the function depends on, so that
  nobody after this module relies on the defaults of a configuration class (those describe somebody's 7B model).
- Old spellings (`rope_theta`, `rope_scaling`, `torch_dtype`) become the new ones (`rope_parameters`, `dtype`).
- What Moesaic cannot compute is refused here, by name: sliding windows, other activations, partial or multimodal
  rotary embeddings, weights that are already quantized, custom code.
"""

from collections.abc import Mapping
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import CONFIG_MAPPING

from moesaic.errors import UnsupportedModelError

__all__ = ["ROPE_TYPES", "SUPPORTED_MODELS", "dense_config", "dense_shapes"]

SUPPORTED_MODELS = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
ROPE_TYPES = ("default", "linear", "dynamic", "yarn", "llama3")

_SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
_COPIED = (*_SIZES, "num_key_value_heads", "hidden_act", "max_position_embeddings", "rms_norm_eps", "initializer_range")


def dense_config(raw: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check the content of a `config.json` and return it complete, in today's spelling.

    `where` names the source in messages. `dtype` is left as given (None if absent). Raises `UnsupportedModelError`.
    """
    model_type = _model_type(raw, where)
    if raw.get("quantization_config") is not None:
        method = raw["quantization_config"].get("quant_method", "unknown")
        raise UnsupportedModelError(
            f"{where} is quantized (quant_method={method!r}): a base needs plain float weights; "
            "give the model that it was quantized from"
        )
    # Llama alone defines what a missing num_key_value_heads means; the other classes would fill in a 7B model's.
    required = _SIZES if model_type == "llama" else (*_SIZES, "num_key_value_heads")
    if missing := [name for name in required if raw.get(name) is None]:
        raise UnsupportedModelError(f"{where} does not give {', '.join(missing)}: complete its config.json")
    try:
        config = CONFIG_MAPPING[model_type].from_dict(dict(raw))
    except (StrictDataclassError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UnsupportedModelError(f"{where}: transformers refuses the configuration ({error}); correct it") from error
    result: dict[str, Any] = {"architectures": [SUPPORTED_MODELS[model_type]], "model_type": model_type}
    result |= {"dtype": raw.get("dtype", raw.get("torch_dtype"))}
    result |= {name: getattr(config, name) for name in _COPIED}
    result["head_dim"] = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    result["rope_parameters"] = _rope_parameters(config, where)
    result |= {"attention_dropout": config.attention_dropout, "use_cache": True}
    # The classes' defaults for these three are other models' ids: what isn't stated stays None.
    result |= {name: _token_id(raw.get(name)) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    result["tie_word_embeddings"] = bool(config.tie_word_embeddings)
    result |= _family_fields(config, model_type)
    _check(result, config, where)
    return result


def dense_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a dense model, in the order of its forward pass (a tied head is absent)."""
    width, vocabulary = config["hidden_size"], config["vocab_size"]
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, width)}
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        shapes[f"{prefix}input_layernorm.weight"] = (width,)
        shapes |= {f"{prefix}self_attn.{name}": shape for name, shape in _attention_shapes(config).items()}
        shapes[f"{prefix}post_attention_layernorm.weight"] = (width,)
        shapes |= {f"{prefix}mlp.{name}": shape for name, shape in _mlp_shapes(config).items()}
    shapes["model.norm.weight"] = (width,)
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (vocabulary, width)
    return shapes


def _model_type(raw: Mapping[str, Any], where: str) -> str:
    model_type, architectures = raw.get("model_type"), raw.get("architectures") or []
    if model_type == "gpt_moe":
        raise UnsupportedModelError(f"{where} is already a mixture (model_type='gpt_moe'): a base is a dense model")
    stock = SUPPORTED_MODELS.get(str(model_type))
    custom = "AutoModelForCausalLM" in raw.get("auto_map", {})
    if stock is None or custom or (architectures and stock not in architectures):
        code = ", custom code" if custom else ""
        raise UnsupportedModelError(
            f"{where} has model_type={model_type!r}, architectures={architectures!r}{code}: a base must be one of "
            + ", ".join(f"{kind} ({name})" for kind, name in SUPPORTED_MODELS.items())
        )
    return str(model_type)


def _rope_parameters(config: Any, where: str) -> dict[str, Any]:
    """Rotary embedding in the flat form of transformers 5: rope_type, rope_theta and what the type needs."""
    rope = {name: value for name, value in config.rope_parameters.items() if name != "type"}
    partial = rope.pop("partial_rotary_factor", 1.0)
    if rope.get("rope_type") not in ROPE_TYPES or "mrope_section" in rope or partial not in (None, 1, 1.0):
        raise UnsupportedModelError(
            f"{where} has the rotary embedding {config.rope_parameters!r}: supported are {', '.join(ROPE_TYPES)}, "
            "one for all layers and over whole heads"
        )
    return rope


def _token_id(value: Any) -> Any:
    """A token id (or list of ids); the -1 that some checkpoints write for "no padding" becomes None."""
    return None if isinstance(value, int) and value < 0 else value


def _family_fields(config: Any, model_type: str) -> dict[str, Any]:
    """Fields that only some of the four classes have."""
    if model_type == "llama":
        return {"attention_bias": bool(config.attention_bias), "mlp_bias": bool(config.mlp_bias)}
    if model_type == "mistral":
        return {"sliding_window": None}
    fields: dict[str, Any] = {"use_sliding_window": False, "sliding_window": None}
    return fields | ({"attention_bias": bool(config.attention_bias)} if model_type == "qwen3" else {})


def _check(result: Mapping[str, Any], config: Any, where: str) -> None:
    """Refuse what would compute another function here than in the model's own implementation."""
    window, kinds = getattr(config, "sliding_window", None), set(getattr(config, "layer_types", None) or ())
    if window is not None or kinds - {"full_attention"}:
        raise UnsupportedModelError(
            f"{where} attends through a sliding window (sliding_window={window!r}, layer_types={sorted(kinds)!r}): "
            "only full attention is supported; if the window was never used in training, set it to null in config.json"
        )
    if result["hidden_act"] != "silu":
        raise UnsupportedModelError(f"{where} has hidden_act={result['hidden_act']!r}: only 'silu' is supported")
    for name in (*_SIZES, "num_key_value_heads", "head_dim", "max_position_embeddings"):
        if result[name] < 1:
            raise UnsupportedModelError(f"{where} has {name}={result[name]!r}: must be at least 1")
    heads, groups = result["num_attention_heads"], result["num_key_value_heads"]
    if heads % groups or result["head_dim"] % 2:
        raise UnsupportedModelError(
            f"{where} has {heads} query heads, {groups} key/value heads and head_dim={result['head_dim']}: "
            "query heads must be a multiple of key/value heads, and head_dim even"
        )


def _attention_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    width, head = config["hidden_size"], config["head_dim"]
    queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    shapes: dict[str, tuple[int, ...]] = {}
    for name, rows, columns in (
        ("q_proj", queries, width),
        ("k_proj", keys, width),
        ("v_proj", keys, width),
        ("o_proj", width, queries),
    ):
        shapes[f"{name}.weight"] = (rows, columns)
        # Qwen2 always has biases on q, k and v and never on o; the switch of Llama and Qwen3 means all four.
        if config.get("attention_bias", False) or (config["model_type"] == "qwen2" and name != "o_proj"):
            shapes[f"{name}.bias"] = (rows,)
    if config["model_type"] == "qwen3":
        shapes |= {"q_norm.weight": (head,), "k_norm.weight": (head,)}
    return shapes


def _mlp_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    width, inner = config["hidden_size"], config["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {}
    for name, rows, columns in (("gate_proj", inner, width), ("up_proj", inner, width), ("down_proj", width, inner)):
        shapes[f"{name}.weight"] = (rows, columns)
        if config.get("mlp_bias", False):
            shapes[f"{name}.bias"] = (rows,)
    return shapes
