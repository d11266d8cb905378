"""Which expert each token should go to, if every expert is to get as many as the others.

Shapes: T tokens, E experts of one layer.

The assignment is greedy, not optimal (an optimal one is an assignment problem, cubic in T): tokens begin at the expert
they score highest, and an expert with too many gives up those that lose least by going to their next best expert that
still has room.
"""

import torch

__all__ = ["balanced_assignment"]


@torch.no_grad()
def balanced_assignment(score_TE: torch.Tensor) -> torch.Tensor:
    """Expert of each token, int64 [T], such that the numbers of tokens per expert differ by at most one.

    Where the experts of highest score are balanced already, they are the result; with two experts the result has the
    largest sum of scores that a balanced assignment can have. Deterministic: ties go to the expert, and leave the
    token, of lower index. At most E rounds of O(T log T + TE); routers that spread their tokens need two or three.

    Scores must be finite; they take no gradient. The idea of balancing by assignment is that of BASE layers
    (arXiv:2103.16716, section 3.1), which solve for the optimum by an auction.
    """
    tokens, experts = score_TE.shape
    choice_T = score_TE.argmax(dim=-1)
    load_E = torch.bincount(choice_T, minlength=experts)
    room_E = _capacities(load_E, tokens)
    for _ in range(experts):
        over_E = load_E > room_E
        if not over_E.any():
            break
        crowded_M = over_E[choice_T].nonzero().squeeze(-1)
        best_M, next_M = score_TE[crowded_M].masked_fill(load_E >= room_E, -torch.inf).max(dim=-1)
        home_M = choice_T[crowded_M]
        gap_M = score_TE[crowded_M].gather(-1, home_M[:, None]).squeeze(-1) - best_M
        leaves_M = _rank_within(home_M, gap_M, experts) < (load_E - room_E)[home_M]
        choice_T[crowded_M[leaves_M]] = next_M[leaves_M]
        load_E = torch.bincount(choice_T, minlength=experts)
    return choice_T


def _capacities(load_E: torch.Tensor, tokens: int) -> torch.Tensor:
    """T // E places for every expert, and one more for the T % E that are asked for most."""
    share, rest = divmod(tokens, len(load_E))
    room_E = torch.full_like(load_E, share)
    room_E[load_E.argsort(descending=True, stable=True)[:rest]] += 1
    return room_E


def _rank_within(group_M: torch.Tensor, value_M: torch.Tensor, groups: int) -> torch.Tensor:
    """Place of each value among those of its group, from 0 for the smallest."""
    order_M = value_M.argsort(stable=True)
    order_M = order_M[group_M[order_M].argsort(stable=True)]
    size_G = torch.bincount(group_M, minlength=groups)
    begin_G = size_G.cumsum(0) - size_G
    rank_M = torch.empty_like(group_M)
    rank_M[order_M] = torch.arange(len(group_M), device=group_M.device) - begin_G[group_M[order_M]]
    return rank_M
