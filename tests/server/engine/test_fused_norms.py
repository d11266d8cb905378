"""The fused norms compute what vLLM's composition does; marked as engine tests, since they need vLLM's kernels."""

import pytest
import torch

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def ops():
    from vllm import ir

    from moesaic.server.engine.fused_norms import use_fused_norms

    use_fused_norms()
    use_fused_norms()  # may be called again
    return ir.ops


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shape", [(1, 576), (33, 576), (7, 3, 64)])
def test_norm_of_rows(ops, shape, dtype):
    from moesaic.server.engine.fused_norms import PROVIDER

    x, weight = torch.randn(shape).to(dtype), torch.randn(shape[-1]).to(dtype)
    assert ops.rms_norm.dispatch(x, weight, 1e-5).provider == PROVIDER
    expected = ops.rms_norm.impls["native"].impl_fn(x.float(), weight.float(), 1e-5)
    assert torch.allclose(ops.rms_norm(x, weight, 1e-5).float(), expected, rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_norm_of_a_sum_keeps_the_sum(ops, dtype):
    from moesaic.server.engine.fused_norms import PROVIDER

    x, residual, weight = torch.randn(5, 96).to(dtype), torch.randn(5, 96).to(dtype), torch.randn(96).to(dtype)
    assert ops.fused_add_rms_norm.dispatch(x, residual, weight, 1e-5).provider == PROVIDER
    total = x.float() + residual.float()
    normed, kept = ops.fused_add_rms_norm.maybe_inplace(x, residual, weight, 1e-5)
    expected = ops.rms_norm.impls["native"].impl_fn(total, weight.float(), 1e-5)
    assert torch.equal(kept, total.to(dtype))
    assert torch.allclose(normed.float(), expected, rtol=2e-2, atol=1e-4)


def test_a_strided_input_is_not_written_to(ops):
    x = torch.randn(4, 3, 128)[:, :, :64]
    before = x.clone()
    expected = ops.rms_norm.impls["native"].impl_fn(x, torch.ones(64), 1e-5)
    assert torch.allclose(ops.rms_norm(x, torch.ones(64), 1e-5), expected, atol=1e-5)
    assert torch.equal(x, before)


@pytest.mark.parametrize("width", [100, 24])
def test_odd_widths_are_left_to_vllm(ops, width):
    x = torch.randn(2, width)
    assert ops.rms_norm.dispatch(x, torch.ones(width), 1e-5).provider == "native"
