"""The fused top-2 form routes as the natural modules do; marked as engine tests, since the module imports vLLM."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moesaic.model.config import GPTMoEConfig
from moesaic.model.router import BranchCoefficients, GPTMoERouter

pytestmark = pytest.mark.engine


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 17), st.booleans(), st.booleans(), st.integers(0, 2**31))
def test_stacked_gate_gives_the_weights_of_router_and_coefficients(experts, tokens, residual, softmax, seed):
    from moesaic.server.engine.vllm_model import residual_routing

    torch.manual_seed(seed)
    config = GPTMoEConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=4, router_gate_mode="softmax" if softmax else "unit"
    )
    router, coefficients = GPTMoERouter(config, experts), BranchCoefficients(config)
    for tensor in (router.weight, coefficients.weight, coefficients.bias):
        torch.nn.init.normal_(tensor)
    router.bias.normal_()
    rows = experts + 2 * residual
    weight = torch.cat([router.weight, coefficients.weight])[:rows]
    bias = torch.cat([router.bias, coefficients.bias])[:rows]

    x = torch.randn(tokens, 16)
    route = residual_routing(experts, residual=residual, softmax_gate=softmax, bias=lambda: bias)
    weights, slots = route(hidden_states=x, gating_output=x @ weight.T + bias, topk=1 + residual, renormalize=True)

    _, gate, index = router(x)
    c = coefficients(x)
    assert slots.dtype == torch.int32
    assert torch.equal(slots[:, :1].long(), index)
    assert torch.allclose(weights[:, :1], gate * c[:, :1] if residual else gate, atol=1e-5)
    if residual:
        assert (slots[:, 1] == experts).all()
        assert torch.allclose(weights[:, 1:], c[:, 1:], atol=1e-5)
    else:
        assert weights.shape == slots.shape == (tokens, 1)


def test_a_companion_has_no_weight_and_is_another_expert():
    from moesaic.server.engine.vllm_model import residual_routing

    route = residual_routing(3, residual=False, softmax_gate=False, bias=lambda: torch.zeros(3), companion=True)
    weights, slots = route(hidden_states=None, gating_output=torch.eye(3), topk=2, renormalize=True)
    assert weights.tolist() == [[1.0, 0.0]] * 3
    assert slots.tolist() == [[0, 1], [1, 2], [2, 0]]


def test_the_plugin_may_register_twice():
    from vllm.model_executor.models.registry import ModelRegistry

    from moesaic.server.engine.plugin import ARCHITECTURE, register

    register()
    register()
    assert ARCHITECTURE in ModelRegistry.get_supported_archs()
