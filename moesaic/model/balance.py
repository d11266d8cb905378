"""Losses and measures of expert balance; they act on training only, nothing of them is left in the served model.

Shapes: T tokens, E experts of one layer.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

__all__ = ["RouterLosses", "expert_load", "load_balancing_loss", "max_violation", "router_losses", "router_z_loss"]


class RouterLosses(NamedTuple):
    """Mean over the mixture layers of the balance loss and of the z-loss (scalars)."""

    balance: torch.Tensor
    z: torch.Tensor


def expert_load(index_T: torch.Tensor, num_experts: int, mask_T: torch.Tensor | None = None) -> torch.Tensor:
    """Tokens that each expert received, [E] fp32; tokens with a false `mask_T` do not count."""
    index_T = index_T.reshape(-1)
    if mask_T is not None:
        index_T = index_T[mask_T.reshape(-1).bool()]
    # Not `bincount`, which has to look at the largest index first: on a GPU that waits for all that was asked before.
    return (index_T[:, None] == torch.arange(num_experts, device=index_T.device)).sum(dim=0).float()


def load_balancing_loss(z_TE: torch.Tensor, index_T: torch.Tensor, mask_T: torch.Tensor | None = None) -> torch.Tensor:
    """E * sum_e f_e P_e (Switch, arXiv:2101.03961, equations 4 to 6): 1 at perfect balance, E at collapse.

    f_e is the share of tokens sent to expert e (no gradient), P_e the mean router probability over all experts. Both
    leave padding (`mask_T` false) out.
    """
    p_TE = torch.softmax(z_TE.float(), dim=-1)
    if mask_T is not None:
        p_TE = p_TE[mask_T.reshape(-1).bool()]
    load_E = expert_load(index_T, z_TE.shape[-1], mask_T)
    return z_TE.shape[-1] * torch.sum(load_E / load_E.sum().clamp(min=1) * p_TE.mean(dim=0))


def router_z_loss(z_TE: torch.Tensor, mask_T: torch.Tensor | None = None) -> torch.Tensor:
    """Mean squared log-partition of the router (ST-MoE, arXiv:2202.08906, equation 5)."""
    squared_T = torch.logsumexp(z_TE.float(), dim=-1).square()
    return squared_T.mean() if mask_T is None else squared_T[mask_T.reshape(-1).bool()].mean()


def router_losses(
    logits: Sequence[torch.Tensor], indices: Sequence[torch.Tensor], mask_T: torch.Tensor | None = None
) -> RouterLosses:
    """Losses of all mixture layers. Layers have unequal expert counts, so each is reduced by itself, then averaged."""
    balance = torch.stack(
        [load_balancing_loss(z, i, mask_T).to(logits[0].device) for z, i in zip(logits, indices, strict=True)]
    )
    z_loss = torch.stack([router_z_loss(z, mask_T).to(logits[0].device) for z in logits])
    return RouterLosses(balance=balance.mean(), z=z_loss.mean())


def max_violation(load_E: torch.Tensor) -> float:
    """MaxVio: the largest load over the mean load, minus 1; 0 at perfect balance (arXiv:2408.15664, section 4)."""
    return float(load_E.max() / load_E.float().mean().clamp(min=1e-9)) - 1.0
