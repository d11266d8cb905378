"""Every parameter has one kind, the experts are all there, and what is frozen does not move."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from moesaic.errors import RecipeError, TrainingError, UnsupportedModelError
from moesaic.model.causal_lm import GPTMoEForCausalLM
from moesaic.training.tuning.parameter_kinds import (
    ParameterKind,
    expert_parameters,
    parameters_by_kind,
    train_kinds,
    trained_parameters,
)
from moesaic.training.tuning.tuned_part import TunedPart, TuningOptions, finish_tuning, tune
from tests.model.tiny_dense import FAMILY_FIELDS, tiny_model

ModelMaker = Callable[[], GPTMoEForCausalLM]


def step(model: nn.Module, tokens: torch.Tensor) -> None:
    """One step of plain gradient descent."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    model.train()
    model(input_ids=tokens, labels=tokens).loss.backward()
    optimizer.step()
    model.eval()


def test_kinds_tile_the_model(model: GPTMoEForCausalLM) -> None:
    found = parameters_by_kind(model)
    names = [name for parameters in found.values() for name in parameters]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    assert all(found.values())
    counts = {kind: len(parameters) for kind, parameters in found.items()}
    assert counts == {
        ParameterKind.ATTENTION: 4 * 4,
        ParameterKind.DENSE: 4 * 3,
        ParameterKind.EXPERTS: 2 * 2,
        ParameterKind.ROUTER: 2 * 3,
        ParameterKind.NORMS: 2 * 4 + 1,
        ParameterKind.EMBEDDINGS: 1,
    }
    assert expert_parameters(model) == 12 * 3 * 96 * 64


@pytest.mark.parametrize("family", sorted(FAMILY_FIELDS))
def test_dense_families_have_no_unknown_parameter(family: str) -> None:
    model = tiny_model(family)
    trained = tune(model, TuningOptions())
    assert trained.trained == trained.total == sum(parameter.numel() for parameter in model.parameters())
    assert expert_parameters(model) == 0
    with pytest.raises(RecipeError, match="the model has no experts to train; it has attention, dense, norms"):
        tune(model, TuningOptions(part=TunedPart.EXPERTS))


@pytest.mark.parametrize("implementation", ["eager", "batched_mm", "grouped_mm"])
def test_experts_alone_are_all_trained_and_nothing_else_moves(
    model: GPTMoEForCausalLM, tokens: torch.Tensor, implementation: str
) -> None:
    model.set_experts_implementation(implementation)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained = tune(model, TuningOptions(part=TunedPart.EXPERTS))
    assert trained.by_kind == {ParameterKind.EXPERTS: expert_parameters(model)}
    step(model, tokens)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {
        f"model.layers.{layer}.mlp.experts.{name}" for layer in (1, 3) for name in ("gate_up_proj", "down_proj")
    }
    finish_tuning(model)
    assert trained_parameters(model).trained == trained.total


def test_experts_that_went_missing_are_noticed(model: GPTMoEForCausalLM) -> None:
    model.mixtures[0].experts.gate_up_proj = nn.Parameter(torch.zeros(3, 192, 64))
    with pytest.raises(TrainingError, match="208896 numbers of experts were found where the configuration has 221184"):
        train_kinds(model, [ParameterKind.ATTENTION])


def test_an_unknown_parameter_is_refused() -> None:
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, mlp_bias=True
        )
    )
    assert parameters_by_kind(model)
    model.model.layers[0].mlp.adapter = nn.Linear(2, 2)
    with pytest.raises(UnsupportedModelError, match=r"layers\.0\.mlp\.adapter\.weight"):
        parameters_by_kind(model)


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(RecipeError, match="part='half' must be one of full, experts, lora"):
        TuningOptions(part="half")  # type: ignore[arg-type]
