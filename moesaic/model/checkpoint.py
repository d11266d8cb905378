"""The one layout of a GPT-MoE on disk, and the only mapping between it and the modules in memory.

On disk every precision has the same names, chosen so that vLLM computes a Pyramid-Residual mixture as one fused top-2
call (layer N, E routed experts):

    model.layers.N.mlp.experts.{0..E-1}.{gate,up,down}_proj.weight    routed experts
    model.layers.N.mlp.experts.E.{gate,up,down}_proj.weight           the residual MLP, as expert slot E
    model.layers.N.mlp.gate.weight [E+2, D], .bias [E+2]   fp32: E router rows, then coefficients: routed, residual

In memory there are the natural modules: `mlp.gate`, `mlp.coefficients`, `mlp.experts` (3-D) and `mlp.residual`. Without
`moe_residual` slot E and the two coefficient rows are absent. Everything else carries Llama's names in both places.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub import snapshot_download
from transformers import PreTrainedConfig

from moesaic.errors import DamagedArtifactError
from moesaic.model.config import GPTMoEConfig
from moesaic.model.quantized import QuantizedReader
from moesaic.model.shards import ShardReader, TensorSource

__all__ = [
    "NaturalPlace",
    "ParameterCounts",
    "check_tensors",
    "count_parameters",
    "disk_tensors",
    "expected_shapes",
    "expert_matrix",
    "layer_tensors",
    "load_folder",
    "natural_places",
    "natural_tensors",
    "open_weights",
]

_MATRICES = ("gate_proj", "up_proj", "down_proj")
_LOADABLE = ["*.safetensors", "*.json", "tokenizer*", "LICENSE*"]
_EXPERT = re.compile(r"model\.layers\.(\d+)\.mlp\.experts\.(\d+)\.(\w+)\.weight")
_GATE = re.compile(r"model\.layers\.(\d+)\.mlp\.gate\.(weight|bias)")
_HUB_OPTIONS = ("revision", "token", "cache_dir", "local_files_only")


class ParameterCounts(NamedTuple):
    """`total` elements of all weights; `active` ones that a single token touches."""

    total: int
    active: int


class NaturalPlace(NamedTuple):
    """Where rows of a tensor on disk lie in memory."""

    name: str
    """Of the tensor in memory."""
    stored: slice = slice(None)
    """The rows on disk."""
    expert: int | None = None
    """Which expert of a fused tensor; None for a tensor that is filled whole."""
    rows: slice = slice(None)
    """Rows of that expert's matrix."""


def expert_matrix(layer: int, slot: int, matrix: str) -> str:
    """Name on disk of one expert matrix; `slot` E is the residual MLP, `matrix` gate_proj, up_proj or down_proj."""
    return f"model.layers.{layer}.mlp.experts.{slot}.{matrix}.weight"


def expected_shapes(config: GPTMoEConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor on disk, in plain (not quantized) precision."""
    width, vocabulary = config.hidden_size, config.vocab_size
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (vocabulary, width),
        "model.norm.weight": (width,),
    }
    if not config.tie_word_embeddings:
        shapes["lm_head.weight"] = (vocabulary, width)
    for layer, experts in enumerate(config.expert_counts):
        shapes |= _attention_shapes(config, f"model.layers.{layer}.")
        shapes |= _mixture_shapes(config, layer, experts) if experts else _dense_shapes(config, layer)
    return shapes


def _attention_shapes(config: GPTMoEConfig, prefix: str) -> dict[str, tuple[int, ...]]:
    width, head = config.hidden_size, config.head_dim
    assert head is not None
    assert config.num_key_value_heads is not None
    queries, keys = config.num_attention_heads * head, config.num_key_value_heads * head
    shapes: dict[str, tuple[int, ...]] = {
        f"{prefix}input_layernorm.weight": (width,),
        f"{prefix}post_attention_layernorm.weight": (width,),
    }
    for name, rows in (("q_proj", queries), ("k_proj", keys), ("v_proj", keys)):
        shapes[f"{prefix}self_attn.{name}.weight"] = (rows, width)
        if config.attention_bias:
            shapes[f"{prefix}self_attn.{name}.bias"] = (rows,)
    shapes[f"{prefix}self_attn.o_proj.weight"] = (width, queries)
    if config.attention_output_bias:
        shapes[f"{prefix}self_attn.o_proj.bias"] = (width,)
    if config.qk_norm:
        shapes |= {f"{prefix}self_attn.{name}.weight": (head,) for name in ("q_norm", "k_norm")}
    return shapes


def _dense_shapes(config: GPTMoEConfig, layer: int) -> dict[str, tuple[int, ...]]:
    wide, narrow = (config.intermediate_size, config.hidden_size), (config.hidden_size, config.intermediate_size)
    return {f"model.layers.{layer}.mlp.{m}.weight": narrow if m == "down_proj" else wide for m in _MATRICES}


def _mixture_shapes(config: GPTMoEConfig, layer: int, experts: int) -> dict[str, tuple[int, ...]]:
    assert config.moe_intermediate_size is not None
    wide, narrow = (
        (config.moe_intermediate_size, config.hidden_size),
        (config.hidden_size, config.moe_intermediate_size),
    )
    shapes: dict[str, tuple[int, ...]] = {}
    for slot in range(experts + config.moe_residual):
        shapes |= {expert_matrix(layer, slot, m): narrow if m == "down_proj" else wide for m in _MATRICES}
    rows = experts + 2 * config.moe_residual
    gate = f"model.layers.{layer}.mlp.gate"
    return shapes | {f"{gate}.weight": (rows, config.hidden_size), f"{gate}.bias": (rows,)}


def count_parameters(config: GPTMoEConfig) -> ParameterCounts:
    """Parameters of the whole model and of the part that one token touches (a tied head counts once)."""
    assert config.moe_intermediate_size is not None
    shapes = expected_shapes(config).values()
    total = sum(torch.Size(shape).numel() for shape in shapes)
    one_expert = 3 * config.hidden_size * config.moe_intermediate_size
    idle = sum(experts - 1 for experts in config.expert_counts if experts)
    return ParameterCounts(total=total, active=total - idle * one_expert)


def check_tensors(source: TensorSource, config: GPTMoEConfig, where: str) -> None:
    """Raise `DamagedArtifactError` unless the source holds exactly the tensors of this configuration."""
    expected = expected_shapes(config)
    present = set(source.names)
    for kind, names in (("lacks", expected.keys() - present), ("has superfluous", present - expected.keys())):
        if names:
            raise DamagedArtifactError(
                f"{where} {kind} {len(names)} of {len(expected)} tensors, first {min(names)!r}: "
                "the weights don't belong to this config.json; make or fetch the artifact again"
            )
    for name, shape in expected.items():
        if (found := tuple(source.spec(name).shape)) != shape:
            raise DamagedArtifactError(f"{where}: {name} has shape {found}, config.json asks for {shape}")


def natural_tensors(source: TensorSource, config: GPTMoEConfig) -> Iterator[tuple[str, torch.Tensor]]:
    """Read the disk layout; yield the tensors of `GPTMoEForCausalLM.state_dict()` one layer at a time."""
    for name in source.names:
        if not name.startswith("model.layers."):
            yield name, source.read(name)
    for layer in range(config.num_hidden_layers):
        yield from layer_tensors(source, config, layer)
    if config.tie_word_embeddings:
        yield "lm_head.weight", source.read("model.embed_tokens.weight")


def layer_tensors(source: TensorSource, config: PreTrainedConfig, layer: int) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of one decoder layer under their names in memory; `config` may also be that of a dense model."""
    experts = config.expert_counts[layer] if isinstance(config, GPTMoEConfig) else 0
    fused = f"model.layers.{layer}.mlp."
    for name in source.names:
        if name.startswith(f"model.layers.{layer}.") and not (experts and name.startswith(fused)):
            yield name, source.read(name)
    if experts:
        yield from _natural_mixture(source.read, config, layer, experts)


def _natural_mixture(
    read: Callable[[str], torch.Tensor], config: GPTMoEConfig, layer: int, experts: int
) -> Iterator[tuple[str, torch.Tensor]]:
    prefix = f"model.layers.{layer}.mlp."

    def stacked(*matrices: str) -> torch.Tensor:
        rows = [torch.cat([read(expert_matrix(layer, e, m)) for m in matrices]) for e in range(experts)]
        return torch.stack(rows)

    yield f"{prefix}experts.gate_up_proj", stacked("gate_proj", "up_proj")
    yield f"{prefix}experts.down_proj", stacked("down_proj")
    for kind in ("weight", "bias"):
        rows = read(f"{prefix}gate.{kind}").float()
        yield f"{prefix}gate.{kind}", rows[:experts].clone()
        if config.moe_residual:
            yield f"{prefix}coefficients.{kind}", rows[experts:].clone()
    if config.moe_residual:
        for matrix in _MATRICES:
            yield f"{prefix}residual.{matrix}.weight", read(expert_matrix(layer, experts, matrix))


def natural_places(name: str, config: PreTrainedConfig) -> list[NaturalPlace]:
    """Where a tensor on disk belongs in memory, for filling a model one stored tensor at a time.

    The same mapping as `natural_tensors`, from the other side; `config` may also be that of a dense model.
    """
    if isinstance(config, GPTMoEConfig) and (found := _EXPERT.fullmatch(name)):
        layer, slot, matrix = int(found[1]), int(found[2]), found[3]
        prefix = f"model.layers.{layer}.mlp."
        if slot == config.expert_counts[layer]:
            return [NaturalPlace(f"{prefix}residual.{matrix}.weight")]
        if matrix == "down_proj":
            return [NaturalPlace(f"{prefix}experts.down_proj", expert=slot)]
        width = config.moe_intermediate_size
        rows = slice(0, width) if matrix == "gate_proj" else slice(width, None)
        return [NaturalPlace(f"{prefix}experts.gate_up_proj", expert=slot, rows=rows)]
    if isinstance(config, GPTMoEConfig) and (found := _GATE.fullmatch(name)):
        experts, prefix = config.expert_counts[int(found[1])], f"model.layers.{found[1]}.mlp."
        places = [NaturalPlace(f"{prefix}gate.{found[2]}", slice(0, experts))]
        if config.moe_residual:
            places.append(NaturalPlace(f"{prefix}coefficients.{found[2]}", slice(experts, None)))
        return places
    return [NaturalPlace(name)]


def disk_tensors(natural: Mapping[str, torch.Tensor], config: GPTMoEConfig) -> Iterator[tuple[str, torch.Tensor]]:
    """The inverse: yield the disk layout of a `state_dict()`, contiguous and without shared storage."""
    fused = tuple(f"model.layers.{layer}.mlp." for layer in config.moe_layers)
    for name, tensor in natural.items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if not name.startswith(fused):
            yield name, tensor.contiguous()
    for layer in config.moe_layers:
        yield from _disk_mixture(natural, config, layer, config.expert_counts[layer])


def _disk_mixture(
    natural: Mapping[str, torch.Tensor], config: GPTMoEConfig, layer: int, experts: int
) -> Iterator[tuple[str, torch.Tensor]]:
    prefix = f"model.layers.{layer}.mlp."
    for slot in range(experts):
        gate, up = natural[f"{prefix}experts.gate_up_proj"][slot].chunk(2)
        down = natural[f"{prefix}experts.down_proj"][slot]
        for matrix, tensor in zip(_MATRICES, (gate, up, down), strict=True):
            yield expert_matrix(layer, slot, matrix), tensor.clone()
    if config.moe_residual:
        for matrix in _MATRICES:
            yield expert_matrix(layer, experts, matrix), natural[f"{prefix}residual.{matrix}.weight"].contiguous()
    parts = ("gate", "coefficients") if config.moe_residual else ("gate",)
    for kind in ("weight", "bias"):
        yield f"{prefix}gate.{kind}", torch.cat([natural[f"{prefix}{part}.{kind}"].float() for part in parts])


def open_weights(folder: Path, config: Mapping[str, Any], dtype: torch.dtype | None = None) -> TensorSource:
    """The weights of a folder under their plain names; quantized ones are dequantized (to `dtype`) as they are read."""
    reader = ShardReader(folder)
    quantization = config.get("quantization_config")
    return reader if quantization is None else QuantizedReader(reader, quantization, dtype=dtype or torch.bfloat16)


def load_folder(
    reference: str | os.PathLike[str], options: dict[str, Any]
) -> tuple[Path, GPTMoEConfig, dict[str, torch.Tensor]]:
    """Configuration and natural state of a local folder or hub id; takes the hub's options out of `options`."""
    hub = {name: options.pop(name) for name in _HUB_OPTIONS if name in options}
    folder = Path(reference)
    if not folder.is_dir():
        folder = Path(snapshot_download(str(reference), allow_patterns=_LOADABLE, **hub))
    config = options.pop("config", None)
    if not isinstance(config, GPTMoEConfig):
        config = GPTMoEConfig.from_pretrained(folder)
    source = open_weights(folder, config.to_dict(), config.dtype)
    check_tensors(source, config, str(folder))
    state = dict(natural_tensors(source, config))
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    return folder, config, state
