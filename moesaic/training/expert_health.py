"""How the experts of each mixture layer fare in a step: loads, MaxVio, router entropy, dead experts, confidence.

Shapes: T tokens of a micro-batch, E experts of a layer.
"""

from collections.abc import Sequence
from typing import Any

import torch

from moesaic.model.balance import expert_load, max_violation
from moesaic.training.batch import Batch
from moesaic.training.processes import Processes
from moesaic.training.router_objective import real_tokens, token_mask

__all__ = ["DEAD_SHARE", "ExpertHealth"]

DEAD_SHARE = 0.1
"""An expert is dead in a step if its load is less than this share of an even load."""


class ExpertHealth:
    """Gathers the routing of one optimizer step; each forward pass is added once, recomputed layers are not seen."""

    def __init__(self, model: Any) -> None:
        self._gates = [mixture.gate for mixture in getattr(model, "mixtures", ())]
        self._sizes = [1, len(self._gates), len(self._gates), *(gate.num_experts for gate in self._gates)]
        self._sums: torch.Tensor | None = None
        """Tokens, entropies, confidences and loads in one row, where the model computes: asking a GPU waits for it."""
        self._tokens, self._entropy, self._top, *self._loads = torch.zeros(sum(self._sizes)).split(self._sizes)

    @torch.no_grad()
    def add(self, router_logits: Sequence[torch.Tensor], batch: Batch) -> None:
        """Add a micro-batch; `router_logits[i]` is [T, E], padding does not count."""
        mask_T = token_mask(batch)
        loads, entropies, tops = [], [], []
        for gate, logits_TE in zip(self._gates, router_logits, strict=True):
            z_TE = real_tokens(logits_TE, mask_T).float()
            loads.append(expert_load(gate.select(z_TE), z_TE.shape[-1]))
            logp_TE = torch.log_softmax(z_TE, dim=-1)
            entropies.append(-(logp_TE.exp() * logp_TE).sum())
            tops.append(logp_TE.max(dim=-1).values.exp().sum())
        tokens = torch.full_like(tops[0], int(mask_T.sum()))
        sums = torch.cat([tokens[None], torch.stack(entropies), torch.stack(tops), *loads])
        self._sums = sums if self._sums is None else self._sums + sums

    def reduce(self, processes: Processes) -> None:
        """Sum over all processes; the figures are there from then on."""
        flat = torch.zeros(sum(self._sizes)) if self._sums is None else self._sums.cpu()
        self._tokens, self._entropy, self._top, *self._loads = processes.summed(flat).float().split(self._sizes)

    @property
    def loads(self) -> list[torch.Tensor]:
        """Tokens per expert, [E] fp32 for each mixture."""
        return self._loads

    def to_json(self) -> list[dict[str, Any]]:
        """One record per mixture layer.

        `load`: share of tokens per expert. `max_violation`: largest load over the mean, minus 1. `entropy`: of the
        router's distribution, mean over tokens, in nats. `dead`: experts with less than a tenth of an even load.
        `top1`: mean probability of the most likely expert.
        """
        tokens = float(self._tokens.clamp(min=1))
        records = []
        for layer, load_E in enumerate(self._loads):
            share_E = load_E / load_E.sum().clamp(min=1)
            records.append(
                {
                    "load": [round(share, 5) for share in share_E.tolist()],
                    "max_violation": round(max_violation(load_E), 5),
                    "entropy": float(self._entropy[layer]) / tokens,
                    "dead": int((share_E < DEAD_SHARE / len(share_E)).sum()),
                    "top1": float(self._top[layer]) / tokens,
                }
            )
        return records
