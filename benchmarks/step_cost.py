"""What one forward pass costs at least: bytes of weights to read, and operations to compute.

A lower bound, so that a share of the machine's limit is never flattering by accident: attention, its cache, norms and
activations are left out, and weights that are used count as read once per pass.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch

from benchmarks.machine_limits import MachineLimits
from moesaic.model.shards import TensorSpec

__all__ = ["StepCost", "arithmetic_share", "bandwidth_share", "distinct_experts", "step_cost"]

_EXPERT = re.compile(r"model\.layers\.(\d+)\.mlp\.experts\.(\d+)\.")
_EMBEDDING = "model.embed_tokens.weight"
_HEAD = "lm_head.weight"


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """Cost of one forward pass."""

    weight_bytes: float
    int8_operations: float
    bf16_operations: float
    """Operations with weights of any other type than int8."""


def distinct_experts(experts: int, tokens: int) -> float:
    """Expected number of experts that `tokens` tokens visit, one each, when the router spreads them evenly."""
    return float(experts * (1 - (1 - 1 / experts) ** tokens))


def step_cost(specs: Mapping[str, TensorSpec], config: Mapping[str, Any], *, tokens: int, head_rows: int) -> StepCost:
    """Cost of a forward pass over `tokens` tokens that computes the logits of `head_rows` of them.

    Args:
        specs: element type and shape of every tensor on disk.
        config: the artifact's config.json; dense or GPT-MoE.
        tokens: tokens of the pass; in decoding one per stream.
        head_rows: rows of logits; in decoding one per stream.
    """
    tied = bool(config.get("tie_word_embeddings"))
    counts = config.get("num_experts_per_layer") or []
    total, int8, bf16 = 0.0, 0.0, 0.0
    for name, (dtype, shape) in specs.items():
        share, rows = 1.0, float(tokens)  # share of the tensor that is read, rows that it is multiplied with
        if match := _EXPERT.match(name):
            experts = counts[int(match[1])]
            if int(match[2]) < experts:  # the slot after the routed experts is the residual MLP: every token's
                share, rows = distinct_experts(experts, tokens) / experts, tokens / experts
        elif name == _HEAD or (name == _EMBEDDING and tied):
            rows = float(head_rows)
        elif name == _EMBEDDING:
            share, rows = min(1.0, tokens / shape[0]), 0.0

        total += share * prod(shape) * dtype.itemsize
        if name.endswith(".weight") and len(shape) == 2:
            operations = 2.0 * prod(shape) * rows
            int8, bf16 = (int8 + operations, bf16) if dtype is torch.int8 else (int8, bf16 + operations)
    return StepCost(weight_bytes=total, int8_operations=int8, bf16_operations=bf16)


def bandwidth_share(cost: StepCost, steps_per_s: float, limits: MachineLimits) -> float:
    """Share of the machine's memory bandwidth that reading the weights takes at this rate."""
    return cost.weight_bytes * steps_per_s / limits.read_bytes_per_s


def arithmetic_share(cost: StepCost, steps_per_s: float, limits: MachineLimits) -> float:
    """Share of the time that the matrix products would take at the machine's peak, each type at its own."""
    seconds = cost.int8_operations / limits.int8_operations_per_s + cost.bf16_operations / limits.bf16_operations_per_s
    return seconds * steps_per_s
