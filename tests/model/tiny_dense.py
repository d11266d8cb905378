"""Tiny dense models for the tests of base models: as transformers saves them, and as llama.cpp's converter would.

The GGUF side is written from llama.cpp's description of the format, row by row, so that it shares no code with what it
tests.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from moesaic.model.base import DenseBase

ROWS = 320
FAMILY_FIELDS: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": None, "head_dim": 24},
    "qwen2": {"use_sliding_window": False},
    "qwen3": {"use_sliding_window": False, "head_dim": 24},
}


def tiny_model(family: str, **changes: Any) -> PreTrainedModel:
    """Two random layers with grouped-query attention; no bias is zero and no norm is one."""
    torch.manual_seed(5)
    fields: dict[str, Any] = {
        "vocab_size": ROWS,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "initializer_range": 0.2,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": None,
    }
    config = AutoConfig.for_model(family, **(fields | FAMILY_FIELDS[family] | changes))
    model = AutoModelForCausalLM.from_config(config).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or "norm" in name:
            parameter.data.add_(0.2 * torch.randn_like(parameter))
    return model


def weights_of(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """The tensors that a checkpoint holds: those of the model without a tied head."""
    tied = model.config.tie_word_embeddings
    return {name: value for name, value in model.state_dict().items() if not (tied and name == "lm_head.weight")}


def logits_of(model: PreTrainedModel, sequences: torch.Tensor) -> torch.Tensor:
    """Logits of a batch, without gradients."""
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=sequences).logits
    return logits


def rebuilt(base: DenseBase) -> PreTrainedModel:
    """A stock model made from nothing but what the base gives."""
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**base.config)).eval()
    outcome = model.load_state_dict({name: base.read(name) for name in base.names}, strict=False)
    tied = ["lm_head.weight"] if base.config["tie_word_embeddings"] else []
    assert (outcome.missing_keys, outcome.unexpected_keys) == (tied, [])
    model.tie_weights()
    return model


BYTE_TOKENS = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324))]
"""One token for every byte, in the spelling of byte-level vocabularies."""

TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", *BYTE_TOKENS, "Ġt", "he", "Ġthe", "ä½", "ä½ł"]
MERGES = ["Ġ t", "h e", "Ġt he", "ä ½", "ä½ ł"]
CHAT = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"


def byte_level_metadata(**changes: Any) -> dict[str, Any]:
    """A byte-level vocabulary as GGUF metadata: three control tokens, a user-defined one, five merges."""
    kinds = [3, 3, 3, 4] + [1] * (len(TOKENS) - 4)
    metadata: dict[str, Any] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": MERGES,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.chat_template": CHAT,
    }
    return {name: value for name, value in (metadata | changes).items() if value is not None}


def write_gguf(
    path: Path,
    model: PreTrainedModel,
    *,
    metadata: Mapping[str, Any] | None = None,
    extra: Mapping[str, np.ndarray[Any, Any]] | None = None,
    drop: str | None = None,
    matrices: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
) -> Path:
    """Write a model as a GGUF file.

    `metadata` adds to or replaces what is written (None leaves a key out), `extra` adds tensors, `drop` leaves one out,
    `matrices` is the number format of everything with two dimensions.
    """
    config = model.config
    family = "llama" if config.model_type == "mistral" else config.model_type
    writer = gguf.GGUFWriter(path, family)
    for name, value in (_architecture(config, family) | byte_level_metadata() | dict(metadata or {})).items():
        if value is not None:
            _add(writer, name, value)
    for name, tensor in weights_of(model).items():
        if (stored := stored_name(name)) != drop:
            values = tensor.numpy()
            if family == "llama" and (heads := _rotated_heads(name, config)):
                values = _beside_each_other(values, heads)
            kind = matrices if values.ndim == 2 else gguf.GGMLQuantizationType.F32
            writer.add_tensor(stored, gguf.quantize(values, kind), raw_dtype=kind)
    for name, array in (extra or {}).items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def stored_name(name: str) -> str:
    """What llama.cpp calls a tensor, by the table of its own library."""
    architecture = gguf.MODEL_ARCH.QWEN3
    stem, _, kind = name.rpartition(".")
    return f"{gguf.get_tensor_name_map(architecture, 8).get_name(stem)}.{kind}"


def _architecture(config: Any, family: str) -> dict[str, Any]:
    values: dict[str, Any] = {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
        "rope.freq_base": float(config.rope_parameters["rope_theta"]),
    }
    if head := getattr(config, "head_dim", None):
        values |= {"attention.key_length": head, "attention.value_length": head, "rope.dimension_count": head}
    return {f"{family}.{name}": value for name, value in values.items()}


def _add(writer: gguf.GGUFWriter, name: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(name, value)
    elif isinstance(value, int):
        writer.add_uint32(name, value)
    elif isinstance(value, float):
        writer.add_float32(name, value)
    elif isinstance(value, str):
        writer.add_string(name, value)
    else:
        writer.add_array(name, value)


def _rotated_heads(name: str, config: Any) -> int:
    if ".q_proj." in name:
        return int(config.num_attention_heads)
    return int(config.num_key_value_heads) if ".k_proj." in name else 0


def _beside_each_other(rows: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """The order of rows in a llama file: within a head, row i and the row that it is rotated with are neighbours."""
    width = len(rows) // heads
    order = [head * width + i + half for head in range(heads) for i in range(width // 2) for half in (0, width // 2)]
    return rows[order].copy()
