"""Faults that leave every checksum and every shape sound: the same tensors, or rows of them, in another order."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from moesaic.model.shards import ShardReader, ShardWriter

__all__ = ["FAULTS", "Fault", "exchange_coefficients", "exchange_experts", "exchange_gate_rows", "plant"]

Tensors = dict[str, torch.Tensor]
Fault = Callable[[Tensors, int], Tensors]
"""Gives the changed tensors of one mixture layer."""


def plant(fault: Fault, source: Path, target: Path, layers: Iterable[int]) -> Path:
    """Copy a model with the fault in each of the layers."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.safetensors", "*.safetensors.index.json"))
    with ShardReader(source) as reader, ShardWriter(target) as writer:
        tensors = {name: reader.read(name) for name in reader.names}
        for layer in layers:
            tensors |= fault(tensors, layer)
        for name, tensor in tensors.items():
            writer.write(name, tensor)
    return target


def exchange_experts(tensors: Tensors, layer: int, a: int = 0, b: int = 1) -> Tensors:
    """Expert a in the place of expert b, with its scales if it is quantized."""
    changed = {}
    for here, there in ((a, b), (b, a)):
        prefix = f"model.layers.{layer}.mlp.experts.{there}."
        for name in tensors:
            if name.startswith(prefix):
                changed[f"model.layers.{layer}.mlp.experts.{here}.{name.removeprefix(prefix)}"] = tensors[name]
    return changed


def exchange_gate_rows(tensors: Tensors, layer: int, a: int = 0, b: int = 1) -> Tensors:
    """Two rows of the router exchanged."""
    changed = {}
    for kind in ("weight", "bias"):
        name = f"model.layers.{layer}.mlp.gate.{kind}"
        changed[name] = tensors[name].clone()
        changed[name][[a, b]] = tensors[name][[b, a]]
    return changed


def exchange_coefficients(tensors: Tensors, layer: int) -> Tensors:
    """The coefficients of the routed and of the residual branch exchanged: the last two rows."""
    return exchange_gate_rows(tensors, layer, -1, -2)


def exchange_last_experts(tensors: Tensors, layer: int) -> Tensors:
    """The last two routed experts exchanged."""
    rows = tensors[f"model.layers.{layer}.mlp.gate.bias"].shape[0]
    return exchange_experts(tensors, layer, rows - 4, rows - 3)


def exchange_residual(tensors: Tensors, layer: int) -> Tensors:
    """The residual MLP and the first expert exchanged."""
    rows = tensors[f"model.layers.{layer}.mlp.gate.bias"].shape[0]
    return exchange_experts(tensors, layer, 0, rows - 2)


FAULTS: dict[str, Fault] = {
    "experts": exchange_experts,
    "last experts": exchange_last_experts,
    "residual": exchange_residual,
    "gate rows": exchange_gate_rows,
    "coefficients": exchange_coefficients,
}
