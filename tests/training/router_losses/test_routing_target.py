"""Targets of the margin, kind by kind."""

import pytest
import torch

from moesaic.errors import RecipeError
from moesaic.training.router_losses.balanced_assignment import balanced_assignment
from moesaic.training.router_losses.routing_target import TARGETS, routing_target

SCORES = torch.tensor([[1.0, 0.0, 0.5], [1.0, 0.9, 0.0], [2.0, 0.0, 1.9], [0.9, 0.0, 0.0]])


def test_each_kind():
    assert routing_target("top1", SCORES).tolist() == [0, 0, 0, 0]
    assert routing_target("round_robin", SCORES).tolist() == [0, 1, 2, 0]
    assert routing_target("balanced", SCORES).tolist() == balanced_assignment(SCORES).tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize("kind", TARGETS)
def test_no_token_has_no_target(kind):
    assert routing_target(kind, torch.zeros(0, 3)).tolist() == []


def test_an_unknown_kind_is_refused():
    with pytest.raises(RecipeError, match=r"'random'.*balanced, top1, round_robin"):
        routing_target("random", SCORES)  # type: ignore[arg-type]
