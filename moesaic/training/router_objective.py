"""What training asks of the routers, beside predicting the next token.

The trainer knows no router loss by name: it calls `loss` for every micro-batch and `after_step` once per optimizer
step. `router_losses.ConfiguredObjective` is what recipes use.

Shapes: B rows, S positions, T = B * S tokens, E experts of one mixture layer.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch

from moesaic.training.batch import Batch

__all__ = ["RouterObjective", "real_tokens", "token_mask"]


class RouterObjective(Protocol):
    """Losses and corrections of the routers of a `GPTMoEForCausalLM`.

    Contract with the trainer:

    - `loss` is a mean over the tokens of one micro-batch. The trainer weighs it by the micro-batch's share of the
      step's tokens over all micro-batches and processes. An objective whose statistics come from the step before
      gives equal gradients however the step is cut into micro-batches.
    - `after_step` gets loads that are summed over micro-batches and processes.
    - `state` and `restore` carry whatever the next step depends on, so that resuming is exact.
    """

    def loss(self, model: Any, outputs: Any, batch: Batch, step: int) -> torch.Tensor:
        """A scalar to add to the language-model loss, already multiplied by its coefficients.

        Args:
            model: the unwrapped model; `model.mixtures[i].gate` is the router of the i-th mixture layer.
            outputs: what the forward pass returned; `outputs.router_logits[i]` is [T, E] with gradient.
            batch: the micro-batch; `token_mask(batch)` says which of the T tokens are not padding.
            step: the optimizer step, from 0.
        """
        ...

    def after_step(self, model: Any, loads: Sequence[torch.Tensor]) -> None:
        """Correct the routers after an optimizer step; `loads[i]` [E] counts the step's tokens per expert."""
        ...

    def state(self) -> dict[str, torch.Tensor]:
        """Everything that a resumed run needs, as tensors; empty for an objective without memory."""
        ...

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go back to what `state` returned."""
        ...


def token_mask(batch: Batch) -> torch.Tensor:
    """[T] bool: which tokens of a micro-batch are not padding."""
    return batch.documents_BS.reshape(-1) >= 0


def real_tokens(values_T: torch.Tensor, mask_T: torch.Tensor) -> torch.Tensor:
    """The rows of `values_T` [T, ...] that `token_mask` keeps; the tensor itself, not a copy, where nothing is padding.

    Give the mask on the CPU, where a batch is made: whether it is full is then known without waiting for a device.
    """
    return values_T if bool(mask_T.all()) else values_T[mask_T.to(values_T.device)]
