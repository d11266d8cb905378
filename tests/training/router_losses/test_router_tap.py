"""The hooks note what the routers see, once, and go away."""

import pytest
import torch

from moesaic.errors import TrainingError
from moesaic.training.router_losses.router_tap import RouterTap


def gates(model):
    return [mixture.gate for mixture in model.mixtures]


def test_lengths_are_those_of_the_routers_input(model):
    seen = []
    model.mixtures[0].gate.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with RouterTap(gates(model)) as tap:
        model(torch.arange(6)[None])
        torch.testing.assert_close(tap.take(0, 6), seen[0].float().norm(dim=-1).detach())
        assert not tap.take(1, 6).requires_grad


def test_one_pass_is_taken_once_and_the_last_one_counts(model):
    with RouterTap(gates(model)) as tap:
        with pytest.raises(TrainingError, match="0 tokens since"):
            tap.take(0, 6)
        model(torch.arange(5)[None])
        model(torch.arange(6)[None])
        assert len(tap.take(0, 6)) == 6
        with pytest.raises(TrainingError, match="once before each call"):
            tap.take(0, 6)
        with pytest.raises(TrainingError, match=r"seen 6 tokens.*5 are asked"):
            tap.take(1, 5)


def test_closing_leaves_the_model_as_it_was(model):
    names = list(model.state_dict())
    tap = RouterTap(gates(model))
    assert list(model.state_dict()) == names
    assert all(gate._forward_hooks for gate in gates(model))
    tap.close()
    assert not any(gate._forward_hooks for gate in gates(model))
    model(torch.arange(6)[None])
    with pytest.raises(TrainingError):
        tap.take(0, 6)
