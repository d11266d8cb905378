"""What training asks of the routers, beside predicting the next token: one protocol, and the objective of a config.

The trainer knows no router loss by name. It calls `loss` for every micro-batch and `after_step` once per optimizer
step; large-margin losses and the like are other classes with the same four methods.

Shapes: B rows, S positions, T = B * S tokens, E experts of one mixture layer.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch

from moesaic.model.balance import router_z_loss
from moesaic.training.batch import Batch

__all__ = ["BalanceObjective", "RouterObjective", "token_mask"]


class RouterObjective(Protocol):
    """Losses and corrections of the routers of a `GPTMoEForCausalLM`.

    Contract with the trainer:

    - `loss` is a mean over the tokens of one micro-batch. The trainer weighs it by the micro-batch's share of the
      step's tokens over all micro-batches and processes. An objective whose statistics come from the step before
      (see `BalanceObjective`) gives equal gradients however the step is cut into micro-batches.
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


class BalanceObjective:
    """The losses that a model's configuration asks for: balance (Switch, arXiv:2101.03961, section 2.2), z and bias.

    loss = router_aux_loss_coef * mean over layers of E * sum_e f_e P_e + router_z_loss_coef * z; the balancing bias
    (arXiv:2408.15664) moves after each step if `router_bias_update_rate` is not 0.

    How this differs from Switch:

    1. The share f_e of tokens per expert is that of the whole optimizer step (all micro-batches, all processes), as
       arXiv:2501.11873 recommends.
    2. It is taken from the step before, and uniform in the first one (no gradient then). The loss is thereby a mean
       over tokens: 8 micro-batches of one row give the gradient of one micro-batch of 8 rows, and nothing waits for
       other processes in the forward pass.
    """

    def __init__(self) -> None:
        self._shares: list[torch.Tensor] = []

    def loss(self, model: Any, outputs: Any, batch: Batch, step: int) -> torch.Tensor:
        """Balance and z-loss of one micro-batch, weighted by the model's configuration."""
        mask_T = token_mask(batch).to(outputs.router_logits[0].device)
        if not mask_T.any():
            return 0.0 * torch.stack([z_TE.float().sum() for z_TE in outputs.router_logits]).sum()
        balance, z_loss = [], []
        for layer, z_TE in enumerate(outputs.router_logits):
            z_loss.append(router_z_loss(z_TE, mask_T))
            if self._shares:
                p_E = torch.softmax(z_TE.float(), dim=-1)[mask_T].mean(dim=0)
                balance.append(z_TE.shape[-1] * torch.sum(self._shares[layer].to(p_E) * p_E))
        total = model.config.router_z_loss_coef * torch.stack(z_loss).mean()
        if balance:
            total = total + model.config.router_aux_loss_coef * torch.stack(balance).mean()
        return total

    def after_step(self, model: Any, loads: Sequence[torch.Tensor]) -> None:
        """Remember the shares for the next step, and move the balancing biases."""
        self._shares = [load_E / load_E.sum().clamp(min=1) for load_E in loads]
        if model.config.router_bias_update_rate:
            model.balance_experts(list(loads))

    def state(self) -> dict[str, torch.Tensor]:
        """The shares of the step before, one [E] tensor per mixture."""
        return {f"shares.{layer}": share_E for layer, share_E in enumerate(self._shares)}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go back to what `state` returned."""
        self._shares = [state[f"shares.{layer}"].clone() for layer in range(len(state))]
