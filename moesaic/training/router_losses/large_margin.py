"""The large-margin router: every token should lie at some distance from the border to any other expert.

Shapes: T tokens, E experts of one layer.

Elsayed et al. (Large Margin Deep Networks for Classification, arXiv:1803.05598, section 3) penalise samples whose
distance to the decision boundary between their class y and any class i is below gamma, and approximate that distance to
first order, |f_y - f_i| / ||grad f_y - grad f_i||. A router is linear in its input, f_e(x) = w_e x + b_e, so for it the
approximation is exact and has a closed form:

    m_i = ((w_y - w_i) x + b_y - b_i) / ||w_y - w_i||        L = mean over tokens of max over i of max(0, gamma - m_i)

How this differs from the paper:

1. Classes are experts, which nobody has labelled: `routing_target` chooses y for every token.
2. The distance is measured in units of the input's own root mean square, so that gamma means the same after a norm
   with any gain; the unit takes no gradient.
3. The denominator takes no gradient either, in keeping with section 3 of the paper, and is at least a hundredth of the
   root mean square of the experts' norms: between two experts that are nearly equal, gradients would have no bound.
4. Only the router has a margin, with the Euclidean norm; the paper also puts margins at hidden layers.

The value does not change when all weights and biases are multiplied by the same number: it cannot be made small by
making logits large.
"""

from typing import Literal, get_args

import torch

from moesaic.errors import RecipeError

__all__ = ["AGGREGATES", "Aggregate", "hyperplane_distances", "large_margin_loss"]

Aggregate = Literal["max", "top2"]
"""Which rivals of the target a token is charged for: the worst one, or the sum over the two worst."""

AGGREGATES: tuple[Aggregate, ...] = get_args(Aggregate)

_SMALLEST_NORM = 1e-6
_SMALLEST_SHARE = 1e-2


def hyperplane_distances(
    score_TE: torch.Tensor, weight_ED: torch.Tensor, target_T: torch.Tensor, unit_T: torch.Tensor
) -> torch.Tensor:
    """Signed distance of each token from its border to every other expert, fp32 [T, E]; +inf for the target itself.

    Positive on the target's side. `score_TE` are logits with the balancing bias, `unit_T` the length that counts as 1
    (the root mean square of each token's input). Gradients flow through the scores only.
    """
    weight_ED = weight_ED.detach().float()
    between_EE = torch.cdist(weight_ED, weight_ED, compute_mode="donot_use_mm_for_euclid_dist")
    typical = weight_ED.square().sum(dim=-1).mean().sqrt()
    between_EE = between_EE.clamp(min=_SMALLEST_SHARE * typical).clamp(min=_SMALLEST_NORM)
    score_TE = score_TE.float()
    lead_TE = score_TE.gather(-1, target_T[:, None]) - score_TE
    distance_TE = lead_TE / (between_EE[target_T] * unit_T.clamp(min=_SMALLEST_NORM)[:, None])
    own_TE = torch.arange(score_TE.shape[-1], device=score_TE.device) == target_T[:, None]
    return distance_TE.masked_fill(own_TE, torch.inf)


def large_margin_loss(
    distance_TE: torch.Tensor, gamma: float, aggregate: Aggregate = "max"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean violation of the margin `gamma` (a scalar), and the share of tokens that violate it (without gradient).

    No token at all, or a single expert, gives 0. Raises `RecipeError` for an unknown aggregate.
    """
    if aggregate not in AGGREGATES:
        raise RecipeError(f"the margin's aggregate {aggregate!r} is unknown: choose one of {', '.join(AGGREGATES)}")
    if not len(distance_TE):
        return distance_TE.sum(), distance_TE.new_zeros(())
    short_TE = (gamma - distance_TE).clamp(min=0.0)
    rivals = min(1 if aggregate == "max" else 2, short_TE.shape[-1])
    violated = (short_TE.detach().amax(dim=-1) > 0).float().mean()
    return short_TE.topk(rivals, dim=-1).values.sum(dim=-1).mean(), violated
