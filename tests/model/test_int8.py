"""Int8 rounding: error bounds, edge rows, refusals; equal to compressed-tensors and to recorded kernel output."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moesaic.errors import SchemeError
from moesaic.model import int8
from moesaic.model.int4 import quantize_int4
from moesaic.model.int8 import dequantize_int8, fake_quantize_activations, quantize_int8
from tests.model.compressed_tensors_reference import QuantizationArgs, dequantize, quantize

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


@st.composite
def matrices(draw: st.DrawFn) -> torch.Tensor:
    """Random matrices over many magnitudes, with zero rows, constant rows and outliers."""
    rows, columns = draw(st.integers(1, 6)), draw(st.integers(1, 40))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    weight = torch.randn(rows, columns, generator=generator) * 10.0 ** draw(st.integers(-44, 36))
    weight[draw(st.integers(0, rows - 1))] *= draw(st.sampled_from([0.0, 1.0, 50.0]))
    weight[draw(st.integers(0, rows - 1)), draw(st.integers(0, columns - 1))] *= draw(st.sampled_from([1.0, -20.0]))
    if draw(st.booleans()):
        weight[-1] = weight[-1, 0].clone()
    return weight.to(draw(st.sampled_from(DTYPES[:2])))


@settings(max_examples=200, deadline=None)
@given(matrices())
def test_each_weight_moves_by_at_most_half_a_step_and_nothing_is_clipped(weight: torch.Tensor) -> None:
    q, scale = quantize_int8(weight)
    assert (q.dtype, scale.dtype, scale.shape) == (torch.int8, torch.bfloat16, (len(weight), 1))
    assert bool((scale > 0).all())
    assert bool((q.abs() <= 127).all())
    error = (dequantize_int8(q, scale).double() - weight.double()).abs()
    assert bool((error <= scale.double() * (0.5 + 1e-5)).all())


@settings(max_examples=100, deadline=None)
@given(matrices())
def test_values_equal_those_of_compressed_tensors_under_the_same_scales(weight: torch.Tensor) -> None:
    q, scale = quantize_int8(weight)
    arguments = QuantizationArgs(num_bits=8, strategy="channel", symmetric=True)
    theirs = quantize(weight.float(), scale.float(), torch.zeros(len(weight), 1), arguments, dtype=torch.int8)
    assert torch.equal(q, theirs)
    assert torch.equal(dequantize_int8(q, scale), dequantize(theirs, scale.float(), args=arguments))


def test_the_scale_is_the_largest_magnitude_over_127_to_bf16_precision() -> None:
    weight = torch.randn(64, 100, generator=torch.Generator().manual_seed(1))
    q, scale = quantize_int8(weight)
    exact = weight.abs().amax(dim=1, keepdim=True) / 127
    assert torch.equal(scale, exact.bfloat16())
    assert bool((q.abs().amax(dim=1) == 127).all())


def test_the_source_is_left_alone() -> None:
    weight = torch.full((2, 64), 0.3)
    quantize_int8(weight)
    quantize_int4(weight)
    fake_quantize_activations(weight)
    assert torch.equal(weight, torch.full((2, 64), 0.3))


def test_rows_of_zeros_and_constants() -> None:
    weight = torch.tensor([[0.0, 0.0], [0.75, 0.75], [-3.0, -3.0], [1e-44, -1e-44]])
    q, scale = quantize_int8(weight)
    assert torch.equal(q, torch.tensor([[0, 0], [127, 127], [-127, -127], [0, 0]], dtype=torch.int8))
    assert scale[0].item() == 1.0
    assert scale[3].item() == torch.finfo(torch.bfloat16).smallest_normal
    assert torch.allclose(dequantize_int8(q, scale), weight, rtol=2**-8)


def test_large_matrices_are_rounded_in_blocks_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.randn(37, 24, generator=torch.Generator().manual_seed(2))
    whole = quantize_int8(weight)
    monkeypatch.setattr(int8, "_BLOCK_ELEMENTS", 100)
    assert len(int8.row_blocks(weight)) == 10
    blocks = quantize_int8(weight)
    assert torch.equal(whole[0], blocks[0])
    assert torch.equal(whole[1], blocks[1])
    assert torch.equal(dequantize_int8(*blocks), whole[0].float() * whole[1].float())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dequantizes_to_the_wanted_type(dtype: torch.dtype) -> None:
    q, scale = quantize_int8(torch.randn(4, 8, generator=torch.Generator().manual_seed(3)))
    assert torch.equal(dequantize_int8(q, scale, dtype=dtype), (q.float() * scale.float()).to(dtype))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_weights_are_refused_by_name(bad: float) -> None:
    weight = torch.ones(3, 8)
    weight[1, 5] = bad
    with pytest.raises(SchemeError, match=r"model\.layers\.1\.mlp\.up_proj\.weight: has NaN or infinite"):
        quantize_int8(weight, name="model.layers.1.mlp.up_proj.weight")


@pytest.mark.parametrize(
    "weight",
    [torch.ones(8), torch.ones(2, 2, 2), torch.ones(2, 2, dtype=torch.int8), torch.ones(0, 4), torch.ones(4, 0)],
)
def test_what_is_no_float_matrix_is_refused_by_name(weight: torch.Tensor) -> None:
    with pytest.raises(SchemeError, match=r"^w: .* cannot be quantized"):
        quantize_int8(weight, name="w")


# In and out of torch.ops.zentorch.zentorch_dynamic_qlinear (zentorch 2.13.0.1) with an identity weight of scale 1.
KERNEL_INPUT = [
    [3.3, -1.7, 0.9, 2.2, -0.013, 0.5, 1.1, -2.9, 0.07, -0.6, 2.71, 1.41, -3.14, 0.33, 0.0, 1.0],
    [127, 63.5, -62.5, 0.5, -0.5, 1.5, 2.5, -1.5, -126.5, -126.4, 7.5, 8.5, 0, 1, 2, 3],
]
KERNEL_OUTPUT = [
    [
        3.3021240234375, -1.6900634765625, 0.9100341796875, 2.2100830078125, -0.0260009765625, 0.4940185546875,
        1.092041015625, -2.912109375, 0.0780029296875, -0.5980224609375, 2.7041015625, 1.404052734375,
        -3.1461181640625, 0.3380126953125, 0.0, 0.988037109375,
    ],
    [127, 64, -62, 0, 0, 2, 2, -2, -126, -126, 8, 8, 0, 1, 2, 3],
]  # fmt: skip


def test_activations_equal_the_recorded_output_of_a_zen_linear_kernel() -> None:
    x = torch.tensor(KERNEL_INPUT)
    assert torch.equal(fake_quantize_activations(x, scale_dtype=torch.bfloat16), torch.tensor(KERNEL_OUTPUT))
    plain = fake_quantize_activations(x)
    assert not torch.equal(plain[0], torch.tensor(KERNEL_OUTPUT)[0])
    assert torch.allclose(plain, torch.tensor(KERNEL_OUTPUT), rtol=2**-8)


@settings(max_examples=100, deadline=None)
@given(matrices(), st.sampled_from(DTYPES))
def test_activations_move_by_at_most_half_a_step_of_their_token(x: torch.Tensor, dtype: torch.dtype) -> None:
    x = x.float().clamp(-1e4, 1e4).to(dtype)
    out = fake_quantize_activations(x.unsqueeze(0))
    assert (out.dtype, out.shape) == (dtype, (1, *x.shape))
    step = x.double().abs().amax(dim=-1, keepdim=True) / 127
    # For narrow types, the result is rounded once more, to that type.
    room = step / 2 * (1 + 1e-5) + x.double().abs() * torch.finfo(dtype).eps + torch.finfo(dtype).tiny
    assert bool(((out[0].double() - x.double()).abs() <= room).all())


def test_tokens_do_not_share_scales_and_zeros_stay_zero() -> None:
    x = torch.tensor([[1000.0, 1.0], [0.0, 0.0], [1.0, 0.001]])
    assert torch.equal(fake_quantize_activations(x)[0], torch.tensor([1000.0, 0.0]))
    assert torch.equal(fake_quantize_activations(x)[1], torch.zeros(2))
    assert torch.equal(fake_quantize_activations(x)[2:], fake_quantize_activations(x[2:]))
    broken = fake_quantize_activations(torch.tensor([[float("inf"), 1.0], [2.0, 2.0]]))
    assert bool(broken[0].isnan().all())
    assert torch.equal(broken[1], torch.tensor([2.0, 2.0]))
