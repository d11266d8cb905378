"""The loss that consumes its logits gives the value and the gradients of the plain one."""

import pytest
import torch

from moesaic.training.batch import IGNORED
from moesaic.training.token_loss import consumed_loss, summed_loss


def scene(dtype: torch.dtype, vocabulary: int = 97) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Inputs [B, S, D], weights [V, D] and targets [B, S] of which some are ignored."""
    generator = torch.Generator().manual_seed(3)
    x_BSD = torch.randn(3, 11, 8, generator=generator).to(dtype).requires_grad_()
    weight_VD = torch.randn(vocabulary, 8, generator=generator).to(dtype).requires_grad_()
    targets_BS = torch.randint(0, vocabulary, (3, 11), generator=generator)
    targets_BS[0, :4] = IGNORED
    targets_BS[2, 10] = IGNORED
    return x_BSD, weight_VD, targets_BS


def gradients(x_BSD: torch.Tensor, weight_VD: torch.Tensor) -> list[torch.Tensor]:
    found = [tensor.grad.clone() for tensor in (x_BSD, weight_VD) if tensor.grad is not None]
    x_BSD.grad = weight_VD.grad = None
    assert len(found) == 2
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("row_bytes", [1, 2000, 2**22])
def test_value_and_gradients_are_those_of_cross_entropy(
    dtype: torch.dtype, row_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moesaic.training.token_loss._ROW_BYTES", {"cpu": row_bytes})
    x_BSD, weight_VD, targets_BS = scene(dtype)
    plain = 0.25 * summed_loss(x_BSD @ weight_VD.T, targets_BS)
    plain.backward()
    expected = gradients(x_BSD, weight_VD)
    consumed = consumed_loss(x_BSD @ weight_VD.T, targets_BS, 0.25)
    consumed.backward()
    assert consumed.item() == pytest.approx(plain.item(), rel=1e-5)
    rtol, atol = (1e-5, 1e-6) if dtype == torch.float32 else (2e-2, 2e-2)
    for found, wanted in zip(gradients(x_BSD, weight_VD), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=rtol, atol=atol)


def test_what_is_done_to_the_loss_afterwards_is_in_the_gradient() -> None:
    x_BSD, weight_VD, targets_BS = scene(torch.float32)
    (3 * summed_loss(x_BSD @ weight_VD.T, targets_BS)).backward()
    expected = gradients(x_BSD, weight_VD)
    (3 * consumed_loss(x_BSD @ weight_VD.T, targets_BS, 1.0)).backward()
    for found, wanted in zip(gradients(x_BSD, weight_VD), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_nothing_of_the_logits_size_is_kept_beside_them() -> None:
    x_BSD, weight_VD, targets_BS = scene(torch.bfloat16, vocabulary=4096)
    logits_BSV = x_BSD @ weight_VD.T
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = consumed_loss(logits_BSV, targets_BS, 1.0)
    assert kept == []
    told: list[int] = []
    logits_BSV.register_hook(lambda gradient: told.append(gradient.data_ptr()))
    memory = logits_BSV.data_ptr()
    loss.backward()
    assert told == [memory]


def test_logits_that_something_else_needs_are_not_taken_silently() -> None:
    """A layer that keeps its output for the backward pass would compute with the gradient in its place."""
    x_BSD, weight_VD, targets_BS = scene(torch.float32)
    loss = consumed_loss(torch.tanh(x_BSD @ weight_VD.T), targets_BS, 1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_loss_that_is_not_finite_stays_so() -> None:
    x_BSD, weight_VD, targets_BS = scene(torch.float32)
    weight_VD.data[3, 2] = float("nan")
    assert consumed_loss(x_BSD @ weight_VD.T, targets_BS, 1.0).isnan()
