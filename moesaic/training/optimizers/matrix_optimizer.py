"""`MatrixOptimizer`: what optimizers of ours share, a step that treats each parameter by itself."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

__all__ = ["MatrixOptimizer"]


class MatrixOptimizer(Optimizer):
    """An optimizer whose update of a parameter depends on that parameter alone."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        assert closure is None, "the trainer computes gradients itself"
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)

    @abstractmethod
    def _update(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        """Change one parameter that has a gradient."""
