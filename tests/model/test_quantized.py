"""Schemes: which matrices each one takes, and that its `ignore` list says the same to vLLM."""

import pytest

from moesaic.errors import SchemeError
from moesaic.model.quantized import Scheme, matrices_to_quantize, parse_scheme, weight_format
from tests.model.pyramid_checkpoint import EXPERTS_PER_LAYER, pyramid_tensors

NAMES = sorted(pyramid_tensors())


def intended(*, attention: bool) -> list[str]:
    """Written out again by hand: every layer's attention, dense layers' triples, experts 0 to E of mixture layers."""
    matrices: list[str] = []
    for layer, experts in enumerate(EXPERTS_PER_LAYER):
        if attention:
            matrices += [f"model.layers.{layer}.self_attn.{m}" for m in ("q_proj", "k_proj", "v_proj", "o_proj")]
        slots = [f"experts.{slot}." for slot in range(experts + 1)] if experts else [""]
        matrices += [f"model.layers.{layer}.mlp.{s}{m}" for s in slots for m in ("gate_proj", "up_proj", "down_proj")]
    return sorted(matrices)


@pytest.mark.parametrize("text", ["int8", "int8-experts", "int4"])
def test_known_schemes(text: str) -> None:
    assert parse_scheme(text).value == text


@pytest.mark.parametrize("text", ["", "INT8", "fp8", "int8_experts", "整数"])
def test_unknown_schemes_are_refused_with_the_known_ones(text: str) -> None:
    with pytest.raises(SchemeError, match=f"scheme='{text}' is unknown; choose one of int8, int8-experts, int4"):
        parse_scheme(text)


@pytest.mark.parametrize("scheme", Scheme)
def test_exactly_the_intended_matrices_of_a_pyramid(scheme: Scheme) -> None:
    found = matrices_to_quantize(scheme, NAMES)
    assert found == intended(attention=scheme is Scheme.INT8)
    assert len(found) == (16 if scheme is Scheme.INT8 else 0) + 3 * (1 + 5 + 1 + 9)
    assert "model.layers.1.mlp.experts.4.up_proj" in found  # slot E, the residual MLP


@pytest.mark.parametrize("scheme", Scheme)
def test_the_ignore_list_says_the_same(scheme: Scheme) -> None:
    chosen = set(matrices_to_quantize(scheme, NAMES))
    form = weight_format(scheme)
    linear = [name.removesuffix(".weight") for name in NAMES if name.endswith(("_proj.weight", "gate.weight"))]
    for matrix in [*linear, "lm_head"]:
        assert form.ignores(matrix) == (matrix not in chosen), matrix


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.0.mlp.experts.gate_up_proj",
        "model.layers.0.mlp.experts.down_proj",
        "model.layers.0.mlp.shared_expert.up_proj.weight",
        "model.layers.0.self_attn.qkv_proj.weight",
        "model.layers.0.block_sparse_moe.experts.0.w1.weight",
        "vision.layers.0.self_attn.q_proj.weight",
    ],
)
@pytest.mark.parametrize("scheme", Scheme)
def test_a_matrix_in_an_unknown_place_is_refused_and_not_skipped(scheme: Scheme, name: str) -> None:
    with pytest.raises(SchemeError, match=f"{name}: no scheme knows this matrix"):
        matrices_to_quantize(scheme, [*NAMES, name])


@pytest.mark.parametrize("suffix", ["weight_scale", "weight_packed", "qweight"])
def test_a_quantized_model_is_refused(suffix: str) -> None:
    name = f"model.layers.0.mlp.up_proj.{suffix}"
    with pytest.raises(SchemeError, match=f"{name}: the model is quantized already"):
        matrices_to_quantize(Scheme.INT8, [*NAMES, name])


def test_a_model_without_matrices_is_refused() -> None:
    with pytest.raises(SchemeError, match="scheme='int4' finds no matrix"):
        matrices_to_quantize(Scheme.INT4, ["model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight"])
