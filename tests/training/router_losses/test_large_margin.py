"""The margin in closed form against a search for the border, and what its loss is indifferent to."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moesaic.errors import RecipeError
from moesaic.training.router_losses.large_margin import hyperplane_distances, large_margin_loss

SEEDS = st.integers(0, 2**31)


def router(seed: int, tokens: int = 7, experts: int = 5, width: int = 6):
    """Random input, weight, bias and target."""
    generator = torch.Generator().manual_seed(seed)
    x_TD = 3 * torch.randn(tokens, width, generator=generator, dtype=torch.float64)
    weight_ED = torch.randn(experts, width, generator=generator, dtype=torch.float64)
    bias_E = torch.randn(experts, generator=generator, dtype=torch.float64)
    return x_TD, weight_ED, bias_E, torch.randint(0, experts, (tokens,), generator=generator)


def distances(x_TD, weight_ED, bias_E, target_T):
    return hyperplane_distances(x_TD @ weight_ED.T + bias_E, weight_ED, target_T, x_TD.square().mean(-1).sqrt())


def nearest_point_on_border(x_D, lead_D, offset):
    """The nearest x' with lead x' + offset = 0, by the conditions of Lagrange, not by our formula."""
    width = len(x_D)
    system = torch.zeros(width + 1, width + 1, dtype=torch.float64)
    system[:width, :width] = torch.eye(width)
    system[:width, width] = system[width, :width] = lead_D
    return torch.linalg.solve(system, torch.cat([x_D, -offset[None]]))[:width]


@given(SEEDS)
def test_the_closed_form_is_the_distance_to_the_border(seed):
    x_TD, weight_ED, bias_E, target_T = router(seed, tokens=3, experts=4)
    found_TE = distances(x_TD, weight_ED, bias_E, target_T)
    for token, target in enumerate(target_T.tolist()):
        for rival in set(range(4)) - {target}:
            lead_D, offset = weight_ED[target] - weight_ED[rival], bias_E[target] - bias_E[rival]
            near_D = nearest_point_on_border(x_TD[token], lead_D, offset)
            assert float(lead_D @ near_D + offset) == pytest.approx(0.0, abs=1e-8)
            unit = x_TD[token].square().mean().sqrt()
            signed = torch.sign(lead_D @ x_TD[token] + offset) * (x_TD[token] - near_D).norm() / unit
            assert float(found_TE[token, rival]) == pytest.approx(float(signed), rel=1e-4, abs=1e-5)
        assert found_TE[token, target] == torch.inf


@given(SEEDS, st.floats(0.001, 1000.0))
def test_the_scale_of_the_router_and_that_of_its_input_do_not_matter(seed, factor):
    x_TD, weight_ED, bias_E, target_T = router(seed)
    before_TE = distances(x_TD, weight_ED, bias_E, target_T)
    louder_TE = distances(x_TD, factor * weight_ED, factor * bias_E, target_T)
    longer_TE = distances(factor * x_TD, weight_ED, factor * bias_E, target_T)
    torch.testing.assert_close(louder_TE, before_TE, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(longer_TE, before_TE, rtol=1e-4, atol=1e-5)


def test_zero_exactly_when_every_margin_is_kept():
    distance_TE = torch.tensor([[torch.inf, 0.5, 0.7], [0.6, torch.inf, 0.5]])
    assert [float(value) for value in large_margin_loss(distance_TE, 0.5)] == [0.0, 0.0]
    loss, violated = large_margin_loss(distance_TE, 0.6)
    assert float(loss) == pytest.approx((0.1 + 0.1) / 2)
    assert float(violated) == 1.0


def test_the_worst_rival_or_the_two_worst_are_charged():
    distance_TE = torch.tensor([[torch.inf, 0.2, -0.3, 0.4], [1.0, 2.0, torch.inf, 3.0]])
    worst, violated = large_margin_loss(distance_TE, 0.5, "max")
    assert float(worst) == pytest.approx(0.8 / 2)
    assert float(violated) == 0.5
    assert float(large_margin_loss(distance_TE, 0.5, "top2")[0]) == pytest.approx((0.8 + 0.3) / 2)
    with pytest.raises(RecipeError, match=r"'mean'.*max, top2"):
        large_margin_loss(distance_TE, 0.5, "mean")  # type: ignore[arg-type]


def test_no_token_and_a_single_expert_cost_nothing():
    assert [float(value) for value in large_margin_loss(torch.zeros(0, 4), 0.5)] == [0.0, 0.0]
    alone_TE = distances(*router(1, experts=1))
    assert [float(value) for value in large_margin_loss(alone_TE, 0.5, "top2")] == [0.0, 0.0]


def test_the_gradient_is_that_of_the_distance_with_a_constant_denominator():
    x_TD, weight_ED, bias_E, target_T = router(3, tokens=1, experts=2)
    weight_ED.requires_grad_()
    target_T = torch.tensor([1])
    loss, _ = large_margin_loss(distances(x_TD, weight_ED, bias_E, target_T), 100.0)
    loss.backward()
    step_D = x_TD[0] / (weight_ED[0] - weight_ED[1]).norm().detach() / x_TD[0].square().mean().sqrt()
    torch.testing.assert_close(weight_ED.grad, torch.stack([step_D, -step_D]), rtol=1e-4, atol=1e-6)


def test_equal_experts_and_a_silent_router_have_bounded_gradients():
    x_TD, weight_ED, bias_E, target_T = router(4)
    for broken_ED in (weight_ED[:1].repeat(5, 1), torch.cat([weight_ED[:4], weight_ED[:1] + 1e-9])):
        leaf_ED = broken_ED.clone().requires_grad_()
        large_margin_loss(distances(x_TD, leaf_ED, 0 * bias_E, target_T), 0.5)[0].backward()
        assert leaf_ED.grad is not None
        assert leaf_ED.grad.isfinite().all()
        assert 0 < leaf_ED.grad.abs().max() < 1e3
    silent_TE = distances(0 * x_TD, 0 * weight_ED, 0 * bias_E, target_T)
    assert large_margin_loss(silent_TE, 0.5)[0] == 0.5
