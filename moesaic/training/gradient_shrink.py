"""Embedding-gradient shrink: the embedding learns more slowly than the rest, by a factor in the backward pass alone.

Spikes of the gradient show up in the embedding first; shrinking its gradient steadies large runs at no cost (GLM-130B,
arXiv:2210.02414, section 3.3: x = a * x + (1 - a) * stop_gradient(x), with a = 0.1).

How this differs: with a tied head only the gradient that comes through the input side shrinks; that of the head, which
is most of it and is not what spikes, stays whole.
"""

from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

__all__ = ["shrink_embedding_gradient"]


def shrink_embedding_gradient(model: Any, share: float) -> RemovableHandle:
    """Let only `share` (0 to 1) of the gradient reach the input embedding; remove the handle to undo it."""
    embedding: nn.Module = model.get_input_embeddings()

    def shrink(_: nn.Module, __: tuple[Any, ...], x_BSD: torch.Tensor) -> torch.Tensor:
        return torch.lerp(x_BSD.detach(), x_BSD, share) if share else x_BSD.detach()

    return embedding.register_forward_hook(shrink)
