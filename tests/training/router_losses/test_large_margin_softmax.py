"""psi against its definition by angles, and the loss against a plain cross-entropy."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from moesaic.errors import RecipeError
from moesaic.training.router_losses.large_margin_softmax import (
    large_margin_softmax_loss,
    margin_logits,
    psi,
    softening,
)

ANGLES = torch.linspace(0, math.pi, 4001, dtype=torch.float64)


def router(seed: int = 0):
    """Random input, weight, bias and target; the logits go with them."""
    generator = torch.Generator().manual_seed(seed)
    x_TD, weight_ED = torch.randn(9, 6, generator=generator), torch.randn(4, 6, generator=generator)
    return x_TD, weight_ED, torch.randn(4, generator=generator), torch.randint(0, 4, (9,), generator=generator)


def psi_of_angle(theta: float, m: int) -> float:
    """Equation 6, by angles."""
    k = min(int(m * theta / math.pi), m - 1)
    return float((-1) ** k * math.cos(m * theta) - 2 * k)


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_psi_is_the_definition(m):
    found = psi(torch.cos(ANGLES), m)
    assert found.tolist() == pytest.approx([psi_of_angle(theta, m) for theta in ANGLES.tolist()], abs=1e-6)


@pytest.mark.parametrize("m", [2, 3, 4])
def test_psi_falls_and_never_exceeds_the_cosine(m):
    found = psi(torch.cos(ANGLES), m)
    assert (found.diff() < 1e-9).all()
    assert found.diff().abs().max() < 0.02, "continuous: no jump where k changes"
    assert (found <= torch.cos(ANGLES) + 1e-9).all()
    assert float(found[-1]) == pytest.approx(1 - 2 * m)


def test_m_of_one_changes_nothing():
    x_TD, weight_ED, bias_E, target_T = router()
    z_TE = x_TD @ weight_ED.T
    plain = F.cross_entropy(z_TE + bias_E, target_T)
    found = large_margin_softmax_loss(z_TE, x_TD.norm(dim=-1), weight_ED, bias_E, target_T, m=1, lam=0.0)
    assert float(found) == pytest.approx(float(plain), rel=1e-5)


@given(st.integers(0, 2**31), st.integers(2, 4), st.floats(0.0, 100.0))
def test_the_targets_logit_alone_is_replaced_as_equation_7_says(seed, m, lam):
    x_TD, weight_ED, _, target_T = router(seed)
    z_TE = x_TD @ weight_ED.T
    found_TE = margin_logits(z_TE, x_TD.norm(dim=-1), weight_ED, target_T, m=m, lam=lam)
    for token, target in enumerate(target_T.tolist()):
        length = float(weight_ED[target].norm() * x_TD[token].norm())
        cosine = float(z_TE[token, target]) / length
        hard = length * (psi_of_angle(math.acos(cosine), m) + lam * cosine) / (1 + lam)
        assert float(found_TE[token, target]) == pytest.approx(hard, rel=1e-3, abs=1e-3)
        others = [e for e in range(4) if e != target]
        assert found_TE[token, others].tolist() == z_TE[token, others].tolist()


def test_the_margin_is_harder_and_lambda_softens_it():
    x_TD, weight_ED, bias_E, target_T = router()
    z_TE = x_TD @ weight_ED.T
    plain = float(F.cross_entropy(z_TE + bias_E, target_T))
    losses = [
        float(large_margin_softmax_loss(z_TE, x_TD.norm(dim=-1), weight_ED, bias_E, target_T, m=3, lam=lam))
        for lam in (0.0, 5.0, 100.0, 1e6)
    ]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > plain + 1
    assert losses[-1] == pytest.approx(plain, rel=1e-3)


def test_every_targets_logit_is_pulled_up_at_all_angles():
    """The gradient reaches a target however far away it is, also exactly ahead and exactly behind."""
    length_T, weight_ED = torch.full((401,), 2.0), torch.tensor([[3.0, 0.0], [0.0, 3.0]])
    z_TE = torch.stack([6 * torch.cos(torch.linspace(0, math.pi, 401)), torch.zeros(401)], dim=-1).requires_grad_()
    target_T = torch.zeros(401, dtype=torch.long)
    margin_logits(z_TE, length_T, weight_ED, target_T, m=2, lam=0.5)[:, 0].sum().backward()
    assert z_TE.grad is not None
    assert z_TE.grad.isfinite().all()
    assert (z_TE.grad[:, 0] > 0).all()


def test_a_weight_of_nothing_and_no_tokens_are_finite():
    x_TD, weight_ED, bias_E, target_T = router()
    silent = large_margin_softmax_loss(
        torch.zeros(9, 4), x_TD.norm(dim=-1), 0 * weight_ED, 0 * bias_E, target_T, m=2, lam=5.0
    )
    assert float(silent) == pytest.approx(math.log(4))
    none = large_margin_softmax_loss(
        torch.zeros(0, 4), torch.zeros(0), weight_ED, bias_E, torch.zeros(0, dtype=torch.long), m=2, lam=5.0
    )
    assert float(none) == 0.0


def test_lambda_falls_to_its_least():
    assert [softening(0), softening(100)] == pytest.approx([100.0, 100 * 0.99**100])
    assert softening(10_000) == 5.0
    assert softening(10_000, least=0.0) < 1e-40


@pytest.mark.parametrize("m", [0, 5])
def test_an_angle_factor_outside_the_paper_is_refused(m):
    with pytest.raises(RecipeError, match=f"m={m} must be 1 to 4"):
        psi(torch.zeros(1), m)
