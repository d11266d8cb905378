"""The expert that a margin loss pulls each token to.

Shapes: T tokens, E experts of one layer.
"""

from typing import Literal, get_args

import torch

from moesaic.errors import RecipeError
from moesaic.training.router_losses.balanced_assignment import balanced_assignment

__all__ = ["TARGETS", "RoutingTarget", "routing_target"]

RoutingTarget = Literal["balanced", "top1", "round_robin"]
"""`balanced`: greedy balanced assignment of the micro-batch, so that the margin itself balances. `top1`: the expert
that is selected anyway, which only sharpens and needs another balancer. `round_robin`: token i to expert i mod E."""

TARGETS: tuple[RoutingTarget, ...] = get_args(RoutingTarget)


@torch.no_grad()
def routing_target(kind: RoutingTarget, score_TE: torch.Tensor) -> torch.Tensor:
    """Target of each token, int64 [T]; `score_TE` are the logits that select, balancing bias included, no padding.

    `round_robin` is what PAI's released GPT-MoE does in place of a target that depends on the token; it is here for
    comparison. Raises `RecipeError` for an unknown kind.
    """
    if kind == "balanced":
        return balanced_assignment(score_TE)
    if kind == "top1":
        return score_TE.argmax(dim=-1)
    if kind == "round_robin":
        return torch.arange(score_TE.shape[0], device=score_TE.device) % score_TE.shape[1]
    raise RecipeError(f"the margin's target {kind!r} is unknown: choose one of {', '.join(TARGETS)}")
