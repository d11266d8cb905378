"""A model that is described first and filled afterwards is the model that was written, or drawn by its own classes."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch

from moesaic.errors import DamagedArtifactError
from moesaic.model.causal_lm import GPTMoEForCausalLM
from moesaic.model.checkpoint import disk_tensors
from moesaic.training.initial_weights import (
    described_model,
    draw_weights,
    fill_weights,
    give_memory,
    is_described,
)
from tests.training.tiny_run import tiny_config, tiny_model

CPU = torch.device("cpu")


def stored(model: GPTMoEForCausalLM) -> dict[str, torch.Tensor]:
    return dict(disk_tensors(model.state_dict(), model.config))


def reads(tensors: dict[str, torch.Tensor]) -> Iterator[tuple[str, Callable[[], torch.Tensor]]]:
    return ((name, partial(torch.Tensor.clone, tensor)) for name, tensor in tensors.items())


def with_memory(config: Any) -> Any:
    model = described_model(config)
    assert is_described(model)
    give_memory(model, CPU)
    assert not is_described(model)
    return model


@pytest.mark.parametrize("fields", [{}, {"moe_residual": False}, {"tie_word_embeddings": False}, {"qk_norm": True}])
def test_a_filled_model_is_the_one_that_was_written(fields: dict[str, Any]) -> None:
    written = tiny_model((0, 3), **fields)
    written.mixtures[0].gate.bias.copy_(torch.tensor([0.1, -0.2, 0.3]))
    found = with_memory(written.config)
    fill_weights(found, reads(stored(written)))
    expected = written.state_dict()
    assert found.state_dict().keys() == expected.keys()
    for name, tensor in found.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    ids = torch.arange(20).reshape(2, 10)
    with torch.no_grad():  # what no checkpoint stores, such as frequencies, is right as well
        assert torch.equal(found.eval()(input_ids=ids).logits, written.eval()(input_ids=ids).logits)
    assert (found.lm_head.weight is found.model.embed_tokens.weight) == written.config.tie_word_embeddings


def test_weights_that_do_not_fit_are_refused() -> None:
    model = tiny_model((0, 3))
    tensors = stored(model)
    name = "model.layers.1.mlp.experts.2.up_proj.weight"
    whole = "model.layers.1.mlp.experts.gate_up_proj"
    for wrong, said in (
        ({name: tensors[name][:-1]}, f"{whole} is given \\(63, 32\\) where it has \\(64, 32\\)"),
        ({"model.norm.weight": torch.ones(1)}, r"model\.norm\.weight is given \(1,\)"),
        ({"model.other.weight": torch.ones(1)}, r"the model has no model\.other\.weight"),
    ):
        with pytest.raises(DamagedArtifactError, match=said):
            fill_weights(with_memory(model.config), reads(tensors | wrong))
    del tensors["model.norm.weight"]
    with pytest.raises(DamagedArtifactError, match=r"1 tensors are missing, first 'model\.norm\.weight'"):
        fill_weights(with_memory(model.config), reads(tensors))


def test_a_model_is_drawn_as_its_classes_say_and_by_the_seed_alone() -> None:
    config = tiny_config((0, 4), router_jitter=0.0, moe_residual_coef_bias_init=2.0)
    models = []
    for seed in (1, 1, 2):
        models.append(with_memory(config))
        torch.manual_seed(seed)
        draw_weights(models[-1])
    first, same, other = (model.state_dict() for model in models)
    experts = "model.layers.1.mlp.experts.gate_up_proj"
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first[experts], other[experts])
    assert float(first[experts].std()) == pytest.approx(config.initializer_range, rel=0.05)
    assert abs(float(first[experts].mean())) < 0.01
    assert torch.equal(first["model.norm.weight"], torch.ones(32))
    assert first["model.layers.1.mlp.coefficients.bias"].tolist() == [0.0, 2.0]
    assert first["model.layers.1.mlp.gate.bias"].tolist() == [0.0] * 4
