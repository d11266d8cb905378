"""Balance loss and z-loss against their definitions."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moesaic.model.balance import expert_load, load_balancing_loss, max_violation, router_losses, router_z_loss


def test_balance_loss_is_one_at_balance_and_the_expert_count_at_collapse():
    uniform, index = torch.zeros(8, 4), torch.arange(8) % 4
    assert load_balancing_loss(uniform, index) == pytest.approx(1.0)
    collapsed = torch.tensor([[100.0, 0, 0, 0]]).repeat(8, 1)
    assert load_balancing_loss(collapsed, torch.zeros(8, dtype=torch.long)) == pytest.approx(4.0)


@given(st.integers(2, 6), st.integers(2, 30), st.integers(0, 2**31))
def test_balance_loss_against_a_loop(experts, tokens, seed):
    torch.manual_seed(seed)
    z = torch.randn(tokens, experts)
    index = z.argmax(-1)
    p = torch.softmax(z, -1)
    expected = sum(experts * (index == e).float().mean() * p[:, e].mean() for e in range(experts))
    assert load_balancing_loss(z, index) == pytest.approx(float(expected), rel=1e-4)


def test_padding_changes_neither_loss():
    z, pad = torch.randn(6, 4), torch.full((3, 4), 7.0)
    mask = torch.tensor([1] * 6 + [0] * 3)
    index = torch.cat([z, pad]).argmax(-1)
    assert load_balancing_loss(torch.cat([z, pad]), index, mask) == pytest.approx(
        float(load_balancing_loss(z, z.argmax(-1))), rel=1e-5
    )
    assert router_z_loss(torch.cat([z, pad]), mask) == pytest.approx(float(router_z_loss(z)), rel=1e-5)


def test_the_share_of_tokens_has_no_gradient_and_the_probability_has():
    z = torch.randn(10, 4, requires_grad=True)
    load_balancing_loss(z, z.argmax(-1)).backward()
    assert z.grad is not None
    assert z.grad.abs().sum() > 0


def test_z_loss_of_equal_logits():
    assert router_z_loss(torch.zeros(5, 8)) == pytest.approx(float(torch.tensor(8.0).log().square()))


def test_layers_with_unequal_expert_counts_are_averaged():
    logits = (torch.randn(6, 4), torch.randn(6, 8))
    indices = [z.argmax(-1) for z in logits]
    losses = router_losses(logits, indices)
    expected = sum(load_balancing_loss(z, i) for z, i in zip(logits, indices, strict=True)) / 2
    assert losses.balance == pytest.approx(float(expected), rel=1e-5)


def test_loads_and_their_violation():
    load = expert_load(torch.tensor([0, 0, 0, 1]), 2)
    assert load.tolist() == [3.0, 1.0]
    assert max_violation(load) == pytest.approx(0.5)
    assert expert_load(torch.tensor([0, 0, 0, 1]), 2, torch.tensor([0, 1, 1, 1])).tolist() == [2.0, 1.0]
