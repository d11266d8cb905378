"""Low-rank updates that matter, and what a model then says."""

import torch
from torch import nn

from moesaic.training.tuning.low_rank import low_rank_updates

__all__ = ["logits", "stir"]


def stir(model: nn.Module) -> None:
    """Give every update something to do: B is zero until something is learnt."""
    generator = torch.Generator().manual_seed(1)
    for _, _, _, update in low_rank_updates(model):
        update.lora_B.data.normal_(0, 0.1, generator=generator)


def logits(model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """Logits of a batch, without gradients."""
    with torch.no_grad():
        result: torch.Tensor = model(input_ids=tokens).logits
    return result
