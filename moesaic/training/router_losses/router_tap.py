"""How long the inputs of all routers were in the last forward pass, without a change to the model.

- A hook on every router notes one number per token; nothing of the graph is kept alive, and no weight or buffer comes
  to be. `close` takes the hooks away.
- Each forward pass replaces what the one before noted. Activation checkpointing runs a layer again in the backward
  pass, and then notes the same numbers once more in place of themselves.

Shapes: T tokens, D model.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from moesaic.errors import TrainingError

__all__ = ["RouterTap"]


class RouterTap:
    """Listens to routers, first mixture to last. Close it, or use it in a `with` block."""

    def __init__(self, gates: Sequence[nn.Module]) -> None:
        self._lengths: list[torch.Tensor | None] = [None] * len(gates)
        self._handles = [gate.register_forward_hook(self._noting(index)) for index, gate in enumerate(gates)]

    def take(self, index: int, tokens: int) -> torch.Tensor:
        """Euclidean length of each token's input to a router in the last forward pass, fp32 [T], without gradient.

        Every forward pass is taken once. Raises `TrainingError` if there was none of `tokens` tokens since.
        """
        length_T, self._lengths[index] = self._lengths[index], None
        seen = 0 if length_T is None else len(length_T)
        if length_T is None or seen != tokens:
            raise TrainingError(
                f"router {index} has seen {seen} tokens since its losses were last taken, and {tokens} are asked for: "
                "run the model that the objective was made for, once before each call of its loss, and don't close it "
                "before the last"
            )
        return length_T

    def close(self) -> None:
        """Take the hooks off the routers."""
        while self._handles:
            self._handles.pop().remove()

    def __enter__(self) -> "RouterTap":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _noting(self, index: int) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def note(_: nn.Module, inputs: tuple[Any, ...], __: Any) -> None:
            with torch.no_grad():
                x_TD = inputs[0].detach()
                self._lengths[index] = x_TD.reshape(-1, x_TD.shape[-1]).float().norm(dim=-1)

        return note
