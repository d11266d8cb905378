"""The L-Softmax router loss: cross-entropy in which the target's angle is made harder by a factor m.

Shapes: T tokens, D model, E experts of one layer.

Liu et al. (Large-Margin Softmax Loss, arXiv:1612.02295, equations 4 to 7) write a logit as |w||x| cos(theta) and give
the target |w||x| psi(theta) instead, psi(theta) = (-1)^k cos(m theta) - 2k with k = floor(m theta / pi): a function
that falls over the whole half circle and never exceeds the cosine. Training begins near the plain logit,
(psi + lambda cos) / (1 + lambda), with a falling lambda.

How this differs from the paper, and from the `lsoftmax` router of PAI's GPT-MoE (ModelScope, gpt_moe/sharded_moe.py):

1. Classes are experts: `routing_target` chooses the target, and the cross-entropy on it is a term of its own. PAI's
   code has no such cross-entropy, so that a lower logit of the target only made the target less likely.
2. lambda depends on the optimizer step, not on the number of forward passes, which activation checkpointing doubles.
3. The target's row of the weight is taken, where PAI's code takes a column; its m is 1, with which psi is the cosine.
4. The balancing bias is added to every logit, since it takes part in the selection. Routing itself uses plain logits.
5. The lengths |w| and |x| take no gradient: it reaches the weights through their logits alone. After a norm |x| hardly
   varies anyway, and a sharded weight needs no second way for its gradient.
"""

import torch
import torch.nn.functional as F

from moesaic.errors import RecipeError

__all__ = ["MAX_ANGLE_FACTOR", "large_margin_softmax_loss", "margin_logits", "psi", "softening"]

MAX_ANGLE_FACTOR = 4
"""Largest m. The paper goes up to 4; beyond it gradients reach m times those of a cosine for no reported gain."""

_SMALLEST_LENGTH = 1e-12


def psi(cosine_T: torch.Tensor, m: int) -> torch.Tensor:
    """The psi of equation 6 as a function of cos(theta) in [-1, 1]; m = 1 gives the cosine itself.

    cos(m theta) is the Chebyshev polynomial T_m of cos(theta), so that no angle needs a gradient (that of the arc
    cosine has no bound). Raises `RecipeError` for an m outside 1 to 4.
    """
    if not 1 <= m <= MAX_ANGLE_FACTOR:
        raise RecipeError(f"the angle factor m={m!r} must be 1 to {MAX_ANGLE_FACTOR}: 2 is a usual choice")
    before_T, multiple_T = torch.ones_like(cosine_T), cosine_T
    for _ in range(m - 1):
        before_T, multiple_T = multiple_T, 2 * cosine_T * multiple_T - before_T
    k_T = torch.floor(m * torch.acos(cosine_T.detach()) / torch.pi).clamp(0, m - 1)
    return (1 - 2 * (k_T % 2)) * multiple_T - 2 * k_T


def softening(step: int, *, start: float = 100.0, decay: float = 0.99, least: float = 5.0) -> float:
    """Lambda at an optimizer step: `start * decay ** step`, at least `least`."""
    return max(least, start * decay**step)


def margin_logits(
    z_TE: torch.Tensor, length_T: torch.Tensor, weight_ED: torch.Tensor, target_T: torch.Tensor, *, m: int, lam: float
) -> torch.Tensor:
    """Logits [T, E] with that of the target replaced by |w||x| (psi + lambda cos) / (1 + lambda), equation 7.

    `length_T` is |x|. Gradients flow through `z_TE` only.
    """
    z_TE = z_TE.float()
    z_T = z_TE.gather(-1, target_T[:, None]).squeeze(-1)
    scale_T = weight_ED.detach().float().norm(dim=-1)[target_T] * length_T.detach().float()
    # Rounding, and jitter of the router's input, can lead a little outside of what a cosine may be.
    cosine_T = (z_T / scale_T.clamp(min=_SMALLEST_LENGTH)).clamp(-1.0, 1.0)
    hard_T = scale_T * (psi(cosine_T, m) + lam * cosine_T) / (1.0 + lam)
    return z_TE.scatter(-1, target_T[:, None], hard_T[:, None])


def large_margin_softmax_loss(
    z_TE: torch.Tensor,
    length_T: torch.Tensor,
    weight_ED: torch.Tensor,
    bias_E: torch.Tensor,
    target_T: torch.Tensor,
    *,
    m: int,
    lam: float,
) -> torch.Tensor:
    """Mean cross-entropy of the margin's logits (plus `bias_E`) on the targets, a scalar; 0 without tokens."""
    if not len(z_TE):
        return z_TE.sum()
    hard_TE = margin_logits(z_TE, length_T, weight_ED, target_T, m=m, lam=lam)
    return F.cross_entropy(hard_TE + bias_E.float(), target_T)
