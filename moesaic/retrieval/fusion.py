"""One ranking of several, by ranks alone: their scores have no common scale.

Reciprocal rank fusion: Cormack, Clarke & Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank
Learning Methods", SIGIR 2009. How this differs:

1. Equal sums are ordered by the best single rank, then by position, so that results do not depend on dictionaries.
"""

from collections.abc import Mapping, Sequence

__all__ = ["RRF_K", "fuse"]

RRF_K = 60
"""The paper's constant: how little the first ranks stand out from those behind them."""


def fuse(rankings: Sequence[Mapping[int, int]]) -> list[tuple[int, float]]:
    """Positions with their fused scores, the best first; each ranking tells the rank, from 1, of its positions."""
    scores: dict[int, float] = {}
    best: dict[int, int] = {}
    for ranks in rankings:
        for position, rank in ranks.items():
            scores[position] = scores.get(position, 0.0) + 1 / (RRF_K + rank)
            best[position] = min(rank, best.get(position, rank))
    return sorted(scores.items(), key=lambda item: (-item[1], best[item[0]], item[0]))
