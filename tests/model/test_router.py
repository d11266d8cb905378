"""Routing: which expert, with what weight, under which gradient."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moesaic.model.config import GPTMoEConfig
from moesaic.model.router import BranchCoefficients, GPTMoERouter


def router(mode="unit", experts=4, **options):
    config = GPTMoEConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=4, router_gate_mode=mode, **options)
    module = GPTMoERouter(config, experts)
    torch.nn.init.normal_(module.weight)
    return module


@given(st.integers(1, 9), st.integers(1, 20), st.integers(0, 2**31))
def test_the_largest_biased_logit_is_chosen(experts, tokens, seed):
    torch.manual_seed(seed)
    module = router(experts=experts)
    module.bias.normal_()
    z, _, index = module(torch.randn(tokens, 16))
    assert index.shape == (tokens, 1)
    for row, chosen in zip(z + module.bias, index[:, 0], strict=True):
        assert row[chosen] == row.max()


def test_softmax_gate_is_the_probability_without_the_bias():
    module = router("softmax")
    module.bias.copy_(torch.tensor([90.0, 0.0, 0.0, 0.0]))
    z, gate, index = module(torch.randn(5, 16))
    assert index.flatten().tolist() == [0] * 5
    assert torch.allclose(gate, torch.softmax(z, -1)[:, :1])


def test_unit_gate_is_one_and_still_teaches_the_router():
    module = router("unit")
    x = torch.randn(6, 16)
    z, gate, index = module(x)
    assert torch.equal(gate, torch.ones(6, 1))
    (gradient,) = torch.autograd.grad(gate.sum(), z)
    one_hot = torch.nn.functional.one_hot(index[:, 0], 4)
    assert torch.allclose(gradient, one_hot - torch.softmax(z.detach(), -1), atol=1e-6)


def test_the_router_computes_in_fp32_whatever_its_input():
    z, gate, _ = router()(torch.randn(3, 16, dtype=torch.bfloat16))
    assert z.dtype == gate.dtype == torch.float32


def test_jitter_acts_while_training_only():
    module = router(router_jitter=0.5)
    x = torch.randn(3, 16)
    assert torch.equal(module.eval()(x)[0], module(x)[0])
    module.train()
    assert not torch.equal(module(x)[0], module(x)[0])


def test_balancing_drives_the_largest_load_down():
    torch.manual_seed(0)
    module = router(experts=4)
    module.weight.data *= 0.05
    module.weight.data[2] *= 8  # a skewed router
    x = torch.randn(400, 16)
    before = torch.bincount(module(x)[2].flatten(), minlength=4)
    for _ in range(600):
        load = torch.bincount(module(x)[2].flatten(), minlength=4)
        module.balance(load, rate=5e-3)
    after = torch.bincount(module(x)[2].flatten(), minlength=4)
    assert before.max() > 150
    assert after.max() < 115


def test_the_bias_is_saved_and_has_no_gradient():
    module = router()
    assert "bias" in module.state_dict()
    assert [name for name, _ in module.named_parameters()] == ["weight"]


@pytest.mark.parametrize("shape", [(7, 16), (1, 16)])
def test_coefficients_of_every_token_sum_to_one(shape):
    config = GPTMoEConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=4)
    module = BranchCoefficients(config)
    torch.nn.init.normal_(module.weight)
    torch.nn.init.normal_(module.bias)
    c = module(torch.randn(shape))
    assert c.shape == (shape[0], 2)
    assert torch.allclose(c.sum(-1), torch.ones(shape[0]))
    assert c[:, 0].std(unbiased=False) > 0 or shape[0] == 1


def test_autocast_changes_neither_the_router_nor_the_coefficients():
    module, coefficients = router(), BranchCoefficients(GPTMoEConfig(hidden_size=16, num_attention_heads=4))
    torch.nn.init.normal_(coefficients.weight)
    torch.nn.init.normal_(coefficients.bias)
    x = torch.randn(64, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.nn.functional.linear(x, module.weight).dtype is torch.bfloat16, "autocast is at work"
        z, gate, index = module(x)
        shares = coefficients(x)
    for found, exact in zip((z, gate, index, shares), (*module(x), coefficients(x)), strict=True):
        assert torch.equal(found, exact)
