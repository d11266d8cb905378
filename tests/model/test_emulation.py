"""Int8 activations: every site of a layer is found, and rounds as the definition says."""

import pytest
import torch

from moesaic.model.checkpoint import expert_matrix
from moesaic.model.emulation import emulate_int8_activations, int8_activation_matrices
from moesaic.model.quantized import Scheme, fake_quantize_activations, quantization_config


def matrices_of(layer, index):
    names = {f"model.layers.{index}.{name}" for name, _ in layer.named_modules() if name.endswith("_proj")}
    names = {name for name in names if ".residual." not in name}
    experts = layer.mlp.experts.num_experts
    return frozenset(
        names
        | {expert_matrix(index, e, m)[:-7] for e in range(experts + 1) for m in ("gate_proj", "up_proj", "down_proj")}
    )


def test_every_site_of_a_mixture_layer_is_found(tiny_model):
    layer = tiny_model.model.layers[1]
    assert emulate_int8_activations(layer, 1, matrices_of(layer, 1)) == 4 + 3 + 2 * 4


def test_nothing_is_rounded_where_nothing_is_quantized(tiny_model):
    layer = tiny_model.model.layers[1]
    x = torch.randn(1, 5, 64)
    before = layer.mlp(x)
    assert emulate_int8_activations(layer, 1, frozenset()) == 0
    assert torch.equal(layer.mlp(x), before)


def test_the_mixture_rounds_both_inputs_of_every_expert(tiny_model):
    layer = tiny_model.model.layers[3]
    mixture, x = layer.mlp, torch.randn(6, 64)
    emulate_int8_activations(layer, 3, matrices_of(layer, 3))
    rounded = fake_quantize_activations(x)
    expected = []
    for token, clean in zip(rounded, x, strict=True):
        z = mixture.gate.weight @ clean + mixture.gate.bias
        expert = int(z.argmax())
        gate, up = (mixture.experts.gate_up_proj[expert] @ token).chunk(2)
        inner = fake_quantize_activations((torch.nn.functional.silu(gate) * up)[None])[0]
        routed = mixture.experts.down_proj[expert] @ inner
        r = mixture.residual
        inner = torch.nn.functional.silu(r.gate_proj.weight @ token) * (r.up_proj.weight @ token)
        dense = r.down_proj.weight @ fake_quantize_activations(inner[None])[0]
        c = torch.softmax(mixture.coefficients.weight @ clean + mixture.coefficients.bias, -1)
        expected.append(c[0] * routed + c[1] * dense)
    assert torch.allclose(mixture(x[None])[0], torch.stack(expected), atol=1e-3)


@pytest.mark.parametrize(("scheme", "found"), [(Scheme.INT8, 2), (Scheme.INT4, 0)])
def test_only_schemes_with_rounded_activations_count(scheme, found):
    names = ["a.weight", "a.weight_scale", "b.weight_scale", "norm.weight"]
    assert len(int8_activation_matrices(names, quantization_config(scheme))) == found
    assert int8_activation_matrices(names, None) == frozenset()
