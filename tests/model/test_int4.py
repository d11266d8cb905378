"""Int4: packing equals that of compressed-tensors, the scale search never loses to plain rounding, refusals by name."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moesaic.errors import SchemeError
from moesaic.model import int8
from moesaic.model.int4 import dequantize_int4, pack_int4, quantize_int4, round_int4, unpack_int4
from tests.model.compressed_tensors_reference import (
    PackedQuantizationCompressor,
    QuantizationArgs,
    QuantizationScheme,
    pack_to_int32,
    unpack_from_int32,
)


@st.composite
def int4_values(draw: st.DrawFn) -> torch.Tensor:
    rows, words = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    return torch.randint(-8, 8, (rows, 8 * words), generator=generator, dtype=torch.int8)


@st.composite
def grouped(draw: st.DrawFn) -> tuple[torch.Tensor, int]:
    """A matrix over many magnitudes with zero and constant groups, and its group size."""
    size, rows, groups = draw(st.sampled_from([8, 32, 64])), draw(st.integers(1, 5)), draw(st.integers(1, 4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    weight = torch.randn(rows, groups, size, generator=generator) * 10.0 ** draw(st.integers(-44, 36))
    weight[draw(st.integers(0, rows - 1)), draw(st.integers(0, groups - 1))] *= draw(st.sampled_from([0.0, 1.0, 50.0]))
    if draw(st.booleans()):
        weight[-1, -1] = weight[-1, -1, 0].clone()
    return weight.flatten(1).to(draw(st.sampled_from([torch.float32, torch.bfloat16]))), size


@settings(max_examples=100, deadline=None)
@given(int4_values())
def test_packing_is_that_of_compressed_tensors_and_can_be_undone(q: torch.Tensor) -> None:
    packed = pack_int4(q)
    assert torch.equal(packed, pack_to_int32(q, 4))
    assert torch.equal(unpack_int4(packed), q)
    assert torch.equal(unpack_int4(packed), unpack_from_int32(packed, 4, q.shape))


def test_all_sixteen_values_survive_at_all_eight_places() -> None:
    q = torch.stack([torch.arange(-8, 8, dtype=torch.int8).roll(shift) for shift in range(16)])
    assert torch.equal(unpack_int4(pack_int4(q)), q)
    assert pack_int4(torch.tensor([[-8, 7, 0, 1, -1, 2, -2, 3]], dtype=torch.int8)).item() == 0xB6A798F0 - 2**32


@settings(max_examples=150, deadline=None)
@given(grouped())
def test_no_group_is_worse_than_plain_rounding_and_each_weight_has_its_nearest_value(
    case: tuple[torch.Tensor, int],
) -> None:
    weight, size = case
    packed, scale, shape = quantize_int4(weight, size)
    rows, columns = weight.shape
    assert (packed.dtype, packed.shape) == (torch.int32, (rows, columns // 8))
    assert (scale.dtype, scale.shape) == (torch.bfloat16, (rows, columns // size))
    assert shape.tolist() == [rows, columns]
    assert bool((scale != 0).all())
    w = weight.double().reshape(rows, -1, size)
    error = (dequantize_int4(packed, scale).double().reshape(w.shape) - w).abs()
    step = scale.double().abs().unsqueeze(-1)
    within = (w / scale.double().unsqueeze(-1)).abs() <= 7
    assert bool((error <= step * (0.5 + 1e-5))[within].all())
    plain = (w.abs().amax(dim=-1, keepdim=True) / 7).clamp_min(2.0**-126)
    bound = ((torch.round(w / plain) * plain - w) ** 2).sum(dim=-1)
    # The plain scale of the search is rounded to bf16, which moves each of its values by up to 2^-8 of itself.
    slack = (2.0**-8 * w.abs() + 1e-6 * plain).square().sum(dim=-1).sqrt()
    assert bool(((error**2).sum(dim=-1).sqrt() <= bound.sqrt() + slack).all())


@settings(max_examples=50, deadline=None)
@given(grouped())
def test_compressed_tensors_reads_the_same_weights(case: tuple[torch.Tensor, int]) -> None:
    weight, size = case
    packed, scale, shape = quantize_int4(weight, size)
    arguments = QuantizationArgs(num_bits=4, strategy="group", group_size=size, symmetric=True)
    parts = {"weight_packed": packed, "weight_scale": scale.float(), "weight_shape": shape}
    theirs = PackedQuantizationCompressor.decompress(parts, QuantizationScheme(targets=["Linear"], weights=arguments))
    assert torch.equal(dequantize_int4(packed, scale), theirs["weight"])


def test_the_search_and_the_free_sign_pay_on_normal_weights() -> None:
    weight = torch.randn(256, 512, generator=torch.Generator().manual_seed(0))
    packed, scale, _ = quantize_int4(weight)
    found = (dequantize_int4(packed, scale) - weight).norm() / weight.norm()
    plain = (weight.reshape(256, -1, 32).abs().amax(dim=-1) / 7).bfloat16()
    rounded = dequantize_int4(pack_int4(round_int4(weight, plain)), plain)
    assert found < 0.85 * (rounded - weight).norm() / weight.norm()
    assert bool((scale < 0).any())
    assert bool((scale > 0).any())


def test_groups_of_zeros_and_constants_are_exact_to_bf16() -> None:
    weight = torch.cat([torch.zeros(1, 32), torch.full((1, 32), 0.7), torch.full((1, 32), -0.7)], dim=1)
    packed, scale, _ = quantize_int4(weight)
    assert torch.allclose(dequantize_int4(packed, scale), weight, rtol=2**-8)
    assert not bool(unpack_int4(packed)[0, :32].any())


def test_large_matrices_are_rounded_in_blocks_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.randn(37, 64, generator=torch.Generator().manual_seed(2))
    whole = quantize_int4(weight)
    monkeypatch.setattr(int8, "_BLOCK_ELEMENTS", 300)
    for part, other in zip(quantize_int4(weight), whole, strict=True):
        assert torch.equal(part, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dequantizes_to_the_wanted_type(dtype: torch.dtype) -> None:
    packed, scale, _ = quantize_int4(torch.randn(4, 64, generator=torch.Generator().manual_seed(3)))
    assert torch.equal(dequantize_int4(packed, scale, dtype=dtype), dequantize_int4(packed, scale).to(dtype))


@pytest.mark.parametrize(
    ("columns", "size", "message"),
    [
        (48, 32, r"w: 48 inputs are no multiple of group_size=32"),
        (8, 32, r"w: 8 inputs are no multiple"),
        (48, 12, r"w: group_size=12 must be a multiple of 8"),
        (48, 0, r"w: group_size=0 must be"),
        (48, -8, r"w: group_size=-8 must be"),
    ],
)
def test_groups_that_do_not_fit_are_refused(columns: int, size: int, message: str) -> None:
    with pytest.raises(SchemeError, match=message):
        quantize_int4(torch.ones(2, columns), size, name="w")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_weights_are_refused_by_name(bad: float) -> None:
    weight = torch.ones(3, 64)
    weight[2, 40] = bad
    with pytest.raises(SchemeError, match=r"experts\.4\.down_proj\.weight: has NaN or infinite"):
        quantize_int4(weight, name="model.layers.1.mlp.experts.4.down_proj.weight")
