"""A tiny artifact of random weights with the names of a GPT-MoE, quantized or not; it computes nothing sensible."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from moesaic.artifact import ArchitectureFacts, ArtifactWriter, Canary, Licence, Lineage, ModelArtifact, Quantization
from moesaic.model.quantized import Scheme, quantization_config
from moesaic.model.quantizer import quantize_weights
from moesaic.model.shards import ShardWriter, TensorSpec

HIDDEN, INNER, VOCAB = 32, 64, 50


def plain_tensors() -> dict[str, Tensor]:
    """One dense layer and one mixture of two experts and the residual MLP, by their names on disk."""
    random = torch.Generator().manual_seed(5)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random).to(torch.bfloat16)

    tensors = {"model.embed_tokens.weight": draw(VOCAB, HIDDEN), "model.norm.weight": draw(HIDDEN)}
    for layer in (0, 1):
        prefix = f"model.layers.{layer}"
        tensors |= {f"{prefix}.self_attn.{name}_proj.weight": draw(HIDDEN, HIDDEN) for name in "qkvo"}
        for expert in (f"{prefix}.mlp",) if layer == 0 else [f"{prefix}.mlp.experts.{slot}" for slot in range(3)]:
            tensors[f"{expert}.gate_proj.weight"] = draw(INNER, HIDDEN)
            tensors[f"{expert}.up_proj.weight"] = draw(INNER, HIDDEN)
            tensors[f"{expert}.down_proj.weight"] = draw(HIDDEN, INNER)
    tensors["model.layers.1.mlp.gate.weight"] = draw(4, HIDDEN).float()
    tensors["model.layers.1.mlp.gate.bias"] = draw(4).float()
    return tensors


FACTS = ArchitectureFacts(
    model_type="gpt_moe",
    architecture="GPTMoEForCausalLM",
    parameters_total=1000,
    parameters_active=900,
    num_hidden_layers=2,
    hidden_size=HIDDEN,
    vocab_size=VOCAB,
    context_length=64,
    experts_per_layer=(0, 2),
    dtype="bfloat16",
)
CANARY = Canary(sequences=((1, 2, 3),), logprobs=((-1.0, -2.0),), threshold=0.1, computed_with="a test")


class PlainSource(NamedTuple):
    """Tensors in memory as a `TensorSource`."""

    tensors: dict[str, Tensor]

    @property
    def names(self) -> list[str]:
        return sorted(self.tensors)

    def spec(self, name: str) -> TensorSpec:
        return TensorSpec(self.tensors[name].dtype, tuple(self.tensors[name].shape))

    def read(self, name: str) -> Tensor:
        return self.tensors[name]


def build(folder: Path, scheme: Scheme | None, *, dtype: str = "bfloat16") -> ModelArtifact:
    """Write an artifact of `plain_tensors`, quantized if a scheme is given, with a file in a folder of its own."""
    quantization: Quantization | None = None
    config: dict[str, Any] = {"model_type": "gpt_moe", "vocab_size": VOCAB, "名": "专家"}
    with ArtifactWriter(folder) as writer:
        with ShardWriter(writer.folder, max_shard_bytes=16_000) as shards:
            if scheme is None:
                for name, tensor in plain_tensors().items():
                    shards.write(name, tensor)
            else:
                report = quantize_weights(PlainSource(plain_tensors()), shards, scheme)
                config["quantization_config"] = quantization_config(scheme)
                quantization = Quantization(
                    scheme=scheme.value,
                    format=report.format,
                    weight_bits=report.weight_bits,
                    activation_bits=report.activation_bits,
                    group_size=report.group_size,
                    matrices=report.matrices,
                    parameters=report.parameters,
                )
        (writer.folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        (writer.folder / "tokenizer.json").write_text('{"text": "好"}', encoding="utf-8")
        (writer.folder / "extra").mkdir()
        (writer.folder / "extra" / "chat.jinja").write_text("{{ text }}", encoding="utf-8")
        (writer.folder / "LICENSE-base.txt").write_text("Do as you like.", encoding="utf-8")
        lineage = Lineage(
            operation="quantize",
            base="a base",
            parent="1" * 64,
            options={},
            created="2026-01-01T00:00:00Z",
            moesaic_version="0",
        )
        return writer.commit(
            name="tiny",
            architecture=ArchitectureFacts(**(FACTS.__dict__ | {"dtype": dtype})),
            lineage=lineage,
            licence=Licence(name="free", file="LICENSE-base.txt"),
            quantization=quantization,
            metrics={"perplexity": 7.0},
            canary=CANARY,
        )
