"""Every parameter is in one group, experts are treated one by one, and states come back by name."""

from typing import Any

import pytest
import torch
from torch import nn

from moesaic.errors import DamagedRunError, MissingDependencyError, RecipeError, TrainingError
from moesaic.model.causal_lm import GPTMoEForCausalLM
from moesaic.training.optimizers import (
    Lamb,
    Muon,
    OptimizerConfig,
    OptimizerSet,
    ParameterRole,
    built_optimizers,
    orthogonalized,
    parameter_groups,
)
from tests.training.tiny_run import tiny_config, tiny_model

KINDS = ("adamw", "muon", "lamb")


def roles(model: nn.Module) -> dict[str, str]:
    groups = parameter_groups(model)
    return {name: str(role) for role, members in groups.members.items() for name in members}


def test_every_parameter_has_the_role_of_its_module() -> None:
    model = tiny_model((0, 4), qk_norm=True, attention_bias=True, tie_word_embeddings=False)
    found = roles(model)
    assert found.keys() == {name for name, _ in model.named_parameters()}
    expected = {
        "model.embed_tokens.weight": "embedding",
        "lm_head.weight": "embedding",
        "model.layers.1.mlp.experts.gate_up_proj": "matrix",
        "model.layers.1.mlp.experts.down_proj": "matrix",
        "model.layers.1.mlp.residual.up_proj.weight": "matrix",
        "model.layers.0.mlp.down_proj.weight": "matrix",
        "model.layers.0.self_attn.q_proj.weight": "matrix",
        "model.layers.0.self_attn.q_proj.bias": "vector",
        "model.layers.0.self_attn.q_norm.weight": "vector",
        "model.layers.1.mlp.gate.weight": "router",
        "model.layers.1.mlp.coefficients.weight": "router",
        "model.layers.1.mlp.coefficients.bias": "vector",
        "model.norm.weight": "vector",
    }
    assert expected.items() <= found.items()


def test_a_tied_head_counts_once_and_frozen_parameters_not_at_all() -> None:
    model = tiny_model()
    model.model.layers[0].requires_grad_(False)
    found = roles(model)
    assert "lm_head.weight" not in found
    assert not any(name.startswith("model.layers.0.") for name in found)


def test_a_model_whose_experts_are_not_all_there_is_refused() -> None:
    model = tiny_model((0, 4))
    model.config.num_experts_per_layer = [0, 5]
    with pytest.raises(TrainingError, match="experts are trained where the configuration has"):
        parameter_groups(model)
    model.requires_grad_(False)
    with pytest.raises(TrainingError, match="nothing would be trained"):
        parameter_groups(model)


@pytest.mark.parametrize("kind", KINDS)
def test_only_matrices_and_routers_decay(kind: str) -> None:
    model = tiny_model()
    optimizers = built_optimizers(model, OptimizerConfig(kind=kind, learning_rate=0.1, weight_decay=0.5))  # type: ignore[arg-type]
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizers.step()
    groups = parameter_groups(model)
    for role, members in groups.members.items():
        decays = role in (ParameterRole.MATRIX, ParameterRole.ROUTER)
        for name, parameter in members.items():
            assert torch.equal(parameter, before[name]) != decays, name
            if decays:
                assert parameter.norm() < before[name].norm()


def test_orthogonalized_matrices_keep_their_vectors_and_lose_their_values() -> None:
    torch.manual_seed(0)
    for shape in ((3, 20, 8), (3, 8, 20), (12, 12)):
        x = torch.randn(shape)
        u, _, vh = torch.linalg.svd(x, full_matrices=False)
        found = orthogonalized(x)
        singular = torch.linalg.svdvals(found)
        assert float(singular.min()) > 0.6
        assert float(singular.max()) < 1.3
        # The same singular vectors: U^T X' V is diagonal.
        inner = u.mT @ found @ vh.mT
        diagonal = torch.diagonal(inner, dim1=-2, dim2=-1)
        torch.testing.assert_close(inner, torch.diag_embed(diagonal), atol=2e-4, rtol=0)
    assert torch.equal(orthogonalized(torch.zeros(2, 4, 4)), torch.zeros(2, 4, 4))


def test_muon_treats_each_expert_and_each_half_by_itself() -> None:
    torch.manual_seed(0)
    fused, gradient = torch.randn(3, 16, 8), torch.randn(3, 16, 8)
    together = nn.Parameter(fused.clone())
    together.grad = gradient.clone()
    Muon([together], lr=0.1, weight_decay=0.2, halves=frozenset([id(together)])).step()
    for expert in range(3):
        for half in (slice(0, 8), slice(8, 16)):
            single = nn.Parameter(fused[expert, half].clone())
            single.grad = gradient[expert, half].clone()
            Muon([single], lr=0.1, weight_decay=0.2).step()
            torch.testing.assert_close(together[expert, half], single, atol=1e-6, rtol=1e-5)


def test_muon_moves_by_the_written_rule() -> None:
    torch.manual_seed(0)
    start, first, second = torch.randn(6, 4), torch.randn(6, 4), torch.randn(6, 4)
    parameter = nn.Parameter(start.clone())
    optimizer = Muon([parameter], lr=0.1, momentum=0.9, weight_decay=0.2)
    expected, momentum = start.clone(), torch.zeros(6, 4)
    for gradient in (first, second):
        parameter.grad = gradient.clone()
        optimizer.step()
        momentum = 0.9 * momentum + gradient
        update = 0.2 * 6**0.5 * orthogonalized(gradient + 0.9 * momentum)
        expected = expected * (1 - 0.1 * 0.2) - 0.1 * update
    torch.testing.assert_close(parameter.detach(), expected, atol=1e-6, rtol=1e-5)


def test_lamb_moves_by_the_written_rule_with_a_ratio_per_expert() -> None:
    torch.manual_seed(0)
    start, gradient = torch.randn(3, 5, 4), torch.randn(3, 5, 4)
    parameter = nn.Parameter(start.clone())
    parameter.grad = gradient.clone()
    Lamb([parameter], lr=0.1, betas=(0.9, 0.99), eps=1e-6, weight_decay=0.1).step()
    for expert in range(3):
        w, g = start[expert], gradient[expert]
        update = g / (g.abs() + 1e-6) + 0.1 * w  # bias-corrected moments of the first step
        expected = w - 0.1 * float(w.norm().clamp(max=10.0) / update.norm()) * update
        torch.testing.assert_close(parameter[expert].detach(), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_restored_state_goes_on_exactly(kind: str) -> None:
    config = OptimizerConfig(kind=kind, learning_rate=0.01)  # type: ignore[arg-type]
    model, copy = tiny_model(), tiny_model()
    first, second = built_optimizers(model, config), built_optimizers(copy, config)
    for step in range(3):
        _gradients(model, step)
        first.step()
    copy.load_state_dict(model.state_dict())
    second.restore(first.state())
    for trained, optimizers in ((model, first), (copy, second)):
        _gradients(trained, 9)
        optimizers.learning_rate(0.5)
        optimizers.step()
    for (name, ours), theirs in zip(model.named_parameters(), copy.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def _gradients(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def test_a_state_of_other_parameters_is_refused() -> None:
    optimizers = built_optimizers(tiny_model(), OptimizerConfig())
    with pytest.raises(DamagedRunError, match=r"'exp_avg' of 'model\.layers\.7\.x'"):
        optimizers.restore({"model.layers.7.x::exp_avg": torch.zeros(2)})


def test_learning_rates_of_muon_and_the_rest_follow_one_factor() -> None:
    config = OptimizerConfig(kind="muon", learning_rate=0.02, rest_learning_rate=0.004)
    optimizers = built_optimizers(tiny_model(), config)
    assert optimizers.learning_rate(0.5) == 0.01
    found = {group["lr"] for optimizer, _ in optimizers._optimizers for group in optimizer.param_groups}
    assert found == {0.01, 0.002}


def test_all_optimizers_lower_the_loss() -> None:
    for kind, rate in (("adamw", 0.01), ("muon", 0.02), ("lamb", 0.02)):
        model = tiny_model()
        optimizers = built_optimizers(model, OptimizerConfig(kind=kind, learning_rate=rate))  # type: ignore[arg-type]
        losses = [_trained_loss(model, optimizers) for _ in range(15)]
        assert losses[-1] < losses[0] - 0.5, kind


def _trained_loss(model: GPTMoEForCausalLM, optimizers: OptimizerSet) -> float:
    ids = torch.arange(40).reshape(2, 20) * 7 % 320
    optimizers.zero_grad()
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    optimizers.step()
    return float(loss.detach())


@pytest.mark.parametrize(
    "fields",
    [
        {"learning_rate": 0.0},
        {"betas": (0.9, 1.0)},
        {"weight_decay": -0.1},
        {"clip_norm": float("inf")},
        {"embedding_gradient": 0.0},
        {"rest_learning_rate": 0.1},
        {"iterations": 0},
    ],
)
def test_values_out_of_range_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        OptimizerConfig(**fields)


def test_eight_bit_moments_work_here_or_say_why_not() -> None:
    config = tiny_config()
    model = GPTMoEForCausalLM(config).float()
    try:
        optimizers = built_optimizers(model, OptimizerConfig(kind="adamw8bit", learning_rate=0.01))
    except MissingDependencyError as error:
        assert "optimizer.kind='adamw'" in str(error)  # noqa: PT017 - either outcome is a right one
        return
    losses = [_trained_loss(model, optimizers) for _ in range(10)]
    assert losses[-1] < losses[0]
    before = {name: tensor.clone() for name, tensor in optimizers.state().items()}
    optimizers.restore(optimizers.state())
    assert before.keys() == optimizers.state().keys()
