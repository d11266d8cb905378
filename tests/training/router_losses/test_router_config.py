"""What a recipe may ask of its routers."""

import pytest

from moesaic.errors import RecipeError
from moesaic.training.router_losses.router_config import ROUTER_KINDS, RouterConfig


def test_each_kind_brings_its_coefficients():
    found = {kind: (c := RouterConfig(kind=kind), (c.balance, c.rate, c.margin))[1] for kind in ROUTER_KINDS}
    assert found == {
        "switch": (1e-2, 0.0, 0.0),
        "bias": (0.0, 1e-3, 0.0),
        "margin": (1e-3, 0.0, 1e-2),
        "lsoftmax": (1e-3, 0.0, 1e-2),
    }


def test_kinds_combine_through_coefficients():
    both = RouterConfig(kind="bias", margin_coefficient=0.02, balance_coefficient=1e-4)
    assert (both.balance, both.rate, both.margin) == (1e-4, 1e-3, 0.02)
    assert both.uses_margin
    assert not RouterConfig(kind="switch").uses_margin


def test_the_margin_begins_after_its_warmup_and_the_balancers_end_with_their_share():
    config = RouterConfig(kind="margin", bias_rate=1e-3, balance_share=0.25)
    first, early, late = (config.at(step, 200) for step in (1, 2, 50))
    assert (first.margin, first.balance, first.bias_rate) == (0.0, 1e-3, 1e-3)
    assert (early.margin, early.balance) == (1e-2, 1e-3)
    assert (late.margin, late.balance, late.bias_rate, late.z) == (1e-2, 0.0, 0.0, 1e-3)
    assert config.at(49, 200).balance == 1e-3


def test_lambda_follows_the_optimizer_step():
    config = RouterConfig(kind="lsoftmax", lambda_start=50.0, lambda_decay=0.5, lambda_least=1.0)
    assert [config.softening(step) for step in (0, 1, 2, 99)] == [50.0, 25.0, 12.5, 1.0]


@pytest.mark.parametrize(
    "balancer",
    [{"balance_coefficient": 1e-3}, {"balance_coefficient": 0.0, "bias_rate": 1e-3}, {"balance_share": 0.1}],
)
def test_a_margin_with_a_balancer_is_accepted(balancer):
    assert RouterConfig(kind="margin", **balancer).uses_margin


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "sinkhorn"}, r"kind='sinkhorn'.*switch"),
        ({"margin_target": "best"}, r"margin_target='best'.*round_robin"),
        ({"aggregate": "sum"}, r"aggregate='sum'.*top2"),
        ({"kind": "margin", "balance_coefficient": 9e-4}, r"balance_coefficient=0.0009.*collapse.*0.001"),
        ({"kind": "bias", "bias_rate": 0.0, "margin_coefficient": 0.1}, r"bias_rate=0.0.*collapse"),
        ({"kind": "lsoftmax", "balance_share": 0.05}, r"balance_share=0.05.*first 0.1"),
        ({"kind": "margin", "margin_target": "top1", "balance_share": 0.5}, r"'top1'.*balance_share=1"),
        ({"gamma": 0.0}, "gamma=0.0"),
        ({"gamma": float("nan")}, "gamma=nan"),
        ({"z_coefficient": -1.0}, "z_coefficient=-1.0"),
        ({"margin_coefficient": float("inf")}, "margin_coefficient=inf"),
        ({"balance_coefficient": float("nan")}, "balance_coefficient=nan"),
        ({"balance_share": 0.0}, "balance_share=0.0"),
        ({"margin_warmup_share": 1.0}, "margin_warmup_share=1.0"),
        ({"angle_factor": 5}, "angle_factor=5.*1 to 4"),
        ({"angle_factor": 2.5}, "angle_factor=2.5"),
        ({"lambda_start": 1.0}, "lambda_start=1.0.*lambda_least=5.0"),
        ({"lambda_decay": 1.1}, "lambda_decay=1.1"),
    ],
)
def test_a_contradiction_is_refused(values, message):
    with pytest.raises(RecipeError, match=message):
        RouterConfig(**values)
