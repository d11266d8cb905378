"""Bytes and operations of a forward pass, counted by hand on a small pyramid."""

import pytest
import torch

from benchmarks.machine_limits import MachineLimits, best_limits
from benchmarks.step_cost import StepCost, arithmetic_share, bandwidth_share, distinct_experts, step_cost
from moesaic.model.shards import TensorSpec

V, D, F, E = 100, 8, 16, 4
CONFIG = {"num_experts_per_layer": [0, E], "tie_word_embeddings": True}
LIMITS = MachineLimits(threads=2, read_bytes_per_s=1000.0, bf16_operations_per_s=1000.0, int8_operations_per_s=4000.0)


def specs(*, quantized: bool = False, tied: bool = True) -> dict[str, TensorSpec]:
    """Embedding, one projection, a mixture of four experts and a residual MLP."""
    kind = torch.int8 if quantized else torch.bfloat16
    found = {
        "model.embed_tokens.weight": TensorSpec(torch.bfloat16, (V, D)),
        "model.norm.weight": TensorSpec(torch.bfloat16, (D,)),
        "model.layers.0.self_attn.q_proj.weight": TensorSpec(kind, (D, D)),
        "model.layers.1.mlp.gate.weight": TensorSpec(torch.float32, (E + 2, D)),
    }
    for slot in range(E + 1):
        name = f"model.layers.1.mlp.experts.{slot}.up_proj"
        found[f"{name}.weight"] = TensorSpec(kind, (F, D))
        if quantized:
            found[f"{name}.weight_scale"] = TensorSpec(torch.bfloat16, (F, 1))
    if not tied:
        found["lm_head.weight"] = TensorSpec(torch.bfloat16, (V, D))
    return found


def test_one_token_reads_one_expert_and_the_residual_and_the_head_once() -> None:
    cost = step_cost(specs(), CONFIG, tokens=1, head_rows=1)
    assert cost.weight_bytes == pytest.approx(2 * (V * D + D + D * D + 2 * F * D) + 4 * (E + 2) * D)
    assert cost.bf16_operations == pytest.approx(2 * (V * D + D * D + 2 * F * D + (E + 2) * D))
    assert cost.int8_operations == 0


def test_int8_weights_count_one_byte_and_bring_their_scales() -> None:
    cost = step_cost(specs(quantized=True), CONFIG, tokens=1, head_rows=1)
    assert cost.weight_bytes == pytest.approx(2 * (V * D + D + 2 * F) + D * D + 2 * F * D + 4 * (E + 2) * D)
    assert cost.int8_operations == pytest.approx(2 * (D * D + 2 * F * D))
    assert cost.bf16_operations == pytest.approx(2 * (V * D + (E + 2) * D))


def test_many_tokens_read_every_expert_once_and_compute_two_each() -> None:
    cost = step_cost(specs(), CONFIG, tokens=10_000, head_rows=3)
    assert cost.weight_bytes == pytest.approx(2 * (V * D + D + D * D + (E + 1) * F * D) + 4 * (E + 2) * D)
    per_token = 2 * (D * D + 2 * F * D + (E + 2) * D)
    assert cost.bf16_operations == pytest.approx(10_000 * per_token + 3 * 2 * V * D)


def test_an_untied_embedding_is_looked_up_not_read() -> None:
    untied = CONFIG | {"tie_word_embeddings": False}
    one, tied = (
        step_cost(specs(tied=False), untied, tokens=1, head_rows=1),
        step_cost(specs(), CONFIG, tokens=1, head_rows=1),
    )
    assert one.weight_bytes - tied.weight_bytes == pytest.approx(2 * D)
    assert one.bf16_operations == pytest.approx(tied.bf16_operations)


def test_dense_models_have_no_experts() -> None:
    dense = {name: spec for name, spec in specs().items() if ".mlp." not in name}
    cost = step_cost(dense, {"tie_word_embeddings": True}, tokens=2, head_rows=2)
    assert cost.bf16_operations == pytest.approx(2 * 2 * (V * D + D * D))


def test_tokens_spread_over_experts() -> None:
    assert distinct_experts(4, 1) == pytest.approx(1.0)
    assert distinct_experts(4, 2) == pytest.approx(1.75)
    assert distinct_experts(4, 1000) == pytest.approx(4.0)


def test_shares_of_the_limits() -> None:
    cost = StepCost(weight_bytes=100.0, int8_operations=400.0, bf16_operations=100.0)
    assert bandwidth_share(cost, 2.0, LIMITS) == pytest.approx(0.2)
    assert arithmetic_share(cost, 2.0, LIMITS) == pytest.approx(2 * (0.1 + 0.1))


def test_the_best_of_each_limit_counts() -> None:
    other = MachineLimits(threads=2, read_bytes_per_s=900.0, bf16_operations_per_s=1100.0, int8_operations_per_s=3000.0)
    assert best_limits([LIMITS, other]) == MachineLimits(
        threads=2, read_bytes_per_s=1000.0, bf16_operations_per_s=1100.0, int8_operations_per_s=4000.0
    )
