"""A synthetic Pyramid-Residual checkpoint, put on disk by the reference implementation of safetensors, not by ours."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

EXPERTS_PER_LAYER = (0, 4, 0, 8)
HIDDEN, INTERMEDIATE, VOCABULARY = 64, 96, 40


def pyramid_tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    """Four layers with 0, 4, 0 and 8 experts plus the residual slot, biases and q/k norms; bf16, gates fp32."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    tensors = {
        "lm_head.weight": random(VOCABULARY, HIDDEN),
        "model.embed_tokens.weight": random(VOCABULARY, HIDDEN),
        "model.norm.weight": random(HIDDEN),
    }
    for layer, experts in enumerate(EXPERTS_PER_LAYER):
        prefix = f"model.layers.{layer}."
        tensors[f"{prefix}input_layernorm.weight"] = random(HIDDEN)
        tensors[f"{prefix}post_attention_layernorm.weight"] = random(HIDDEN)
        for matrix, rows in (("q_proj", HIDDEN), ("k_proj", 32), ("v_proj", 32), ("o_proj", HIDDEN)):
            tensors[f"{prefix}self_attn.{matrix}.weight"] = random(rows, HIDDEN)
            tensors[f"{prefix}self_attn.{matrix}.bias"] = random(rows)
        for norm in ("q_norm", "k_norm"):
            tensors[f"{prefix}self_attn.{norm}.weight"] = random(16)
        places = [f"{prefix}mlp.experts.{slot}." for slot in range(experts + 1)] if experts else [f"{prefix}mlp."]
        for place in places:
            tensors[f"{place}gate_proj.weight"] = random(INTERMEDIATE, HIDDEN)
            tensors[f"{place}up_proj.weight"] = random(INTERMEDIATE, HIDDEN)
            tensors[f"{place}down_proj.weight"] = random(HIDDEN, INTERMEDIATE)
        if experts:
            tensors[f"{prefix}mlp.gate.weight"] = random(experts + 2, HIDDEN, dtype=torch.float32)
            tensors[f"{prefix}mlp.gate.bias"] = random(experts + 2, dtype=torch.float32)
    return tensors


def save_sharded(folder: Path, tensors: dict[str, torch.Tensor], shards: int = 3) -> None:
    """Spread tensors over shards with an index, as Hugging Face does."""
    weight_map: dict[str, str] = {}
    for number in range(shards):
        file = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: tensors[name] for name in sorted(tensors)[number::shards]}
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(part, file))
    index = {"metadata": {"total_size": sum(t.nbytes for t in tensors.values())}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
