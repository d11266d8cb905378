"""What a run asks of its routers, as its `RouterConfig` says: balance loss, z-loss, balancing bias and a margin.

It keeps the contract of `moesaic.training.router_objective.RouterObjective`. The coefficients of the model's own
configuration are not looked at, and nothing is added to the model: what it saves has the same tensors as ever.

Shapes: T tokens (padding left out), D model, E experts of one mixture layer.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import torch
from torch.distributed.tensor import DTensor

from moesaic.model.balance import router_z_loss
from moesaic.model.router import GPTMoERouter
from moesaic.training.batch import Batch
from moesaic.training.router_losses.large_margin import hyperplane_distances, large_margin_loss
from moesaic.training.router_losses.large_margin_softmax import large_margin_softmax_loss
from moesaic.training.router_losses.router_config import RouterCoefficients, RouterConfig
from moesaic.training.router_losses.router_tap import RouterTap
from moesaic.training.router_losses.routing_target import routing_target
from moesaic.training.router_objective import real_tokens, token_mask

__all__ = ["ConfiguredObjective"]


class _MarginTerm(NamedTuple):
    """The margin loss of one layer, and its measures (without gradient)."""

    loss: torch.Tensor
    violated: torch.Tensor
    """Share of tokens nearer than gamma to the border to another expert."""

    agreed: torch.Tensor
    """Share of tokens that are routed to their target."""


class ConfiguredObjective:
    """The router objective of a `RouterConfig`; make it for a model before its first forward pass.

    With a margin it listens to the routers of `model` until `close`; it may be used in a `with` block. All terms are
    means over tokens, then over mixture layers, so that they weigh the same in a deep and in a shallow model. A
    `balanced` or `round_robin` target belongs to one micro-batch: how a step is cut into micro-batches changes it.

    How the balance loss differs from Switch (arXiv:2101.03961, section 2.2):

    1. The share f_e of tokens per expert is that of the whole optimizer step (all micro-batches, all processes), as
       arXiv:2501.11873 recommends.
    2. It is taken from the step before, and uniform in the first one (no gradient then). The loss is thereby a mean
       over tokens: 8 micro-batches of one row give the gradient of one micro-batch of 8 rows, and nothing waits for
       other processes in the forward pass.
    """

    def __init__(self, config: RouterConfig, model: Any, *, total_steps: int) -> None:
        self.config = config
        self.total_steps = total_steps
        gates = [mixture.gate for mixture in model.mixtures]
        self._tap = RouterTap(gates if config.uses_margin else [])
        self._shares: list[torch.Tensor] = []
        self._step = 0
        self._noted: dict[str, list[torch.Tensor]] = {}

    def close(self) -> None:
        """Stop listening to the routers; `loss` of a margin can't be taken any more."""
        self._tap.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def loss(self, model: Any, outputs: Any, batch: Batch, step: int) -> torch.Tensor:
        """The weighted sum of all terms for one micro-batch, a scalar; 0 for a dense model or nothing but padding.

        Raises `TrainingError` if a margin has to be taken and `model` has not just run on this batch.
        """
        self._step = step
        weights = self.config.at(step, self.total_steps)
        mask_T = token_mask(batch)
        if not outputs.router_logits:
            return outputs.logits.new_zeros((), dtype=torch.float32)
        if not mask_T.any():
            return 0.0 * torch.stack([z_TE.float().sum() for z_TE in outputs.router_logits]).sum()
        terms = []
        for layer, (mixture, logits_TE) in enumerate(zip(model.mixtures, outputs.router_logits, strict=True)):
            z_TE = real_tokens(logits_TE, mask_T)
            term = self._balance_term(layer, z_TE, weights)
            if weights.margin:
                length_T = real_tokens(self._tap.take(layer, len(logits_TE)), mask_T)
                margin = self._margin_term(mixture.gate, z_TE.float(), length_T)
                term = term + weights.margin * margin.loss
                self._note(layer, margin)
            terms.append(term)
        return torch.stack(terms).mean()

    def after_step(self, model: Any, loads: Sequence[torch.Tensor]) -> None:
        """Remember the shares for the next step, and move the balancing biases (none where no expert had a token)."""
        self._shares = [load_E / load_E.sum().clamp(min=1) for load_E in loads]
        rate = self.config.at(self._step, self.total_steps).bias_rate
        if rate:
            for mixture, load_E in zip(model.mixtures, loads, strict=True):
                mixture.gate.balance(load_E, rate)

    def state(self) -> dict[str, torch.Tensor]:
        """The shares of the step before, one [E] tensor per mixture."""
        return {f"shares.{layer}": share_E for layer, share_E in enumerate(self._shares)}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go back to what `state` returned."""
        self._shares = [state[f"shares.{layer}"].clone() for layer in range(len(state))]

    def take_metrics(self) -> dict[str, float]:
        """Means over the micro-batches since the last call, empty without a margin; over all layers and for each one.

        `margin_loss` is unweighted; `margin_violation` the share of tokens nearer than gamma to another expert;
        `target_agreement` the share that is routed to its target. Single layers are `margin_violation.0` and so on.
        """
        noted, self._noted = self._noted, {}
        return {name: float(torch.stack(values).mean()) for name, values in sorted(noted.items())}

    def _balance_term(self, layer: int, z_TE: torch.Tensor, weights: RouterCoefficients) -> torch.Tensor:
        term = weights.z * router_z_loss(z_TE)
        if weights.balance and self._shares:
            p_E = torch.softmax(z_TE.float(), dim=-1).mean(dim=0)
            term = term + weights.balance * z_TE.shape[-1] * torch.sum(self._shares[layer].to(p_E) * p_E)
        return term

    def _margin_term(self, gate: GPTMoERouter, z_TE: torch.Tensor, length_T: torch.Tensor) -> _MarginTerm:
        weight_ED = _whole(gate.weight).to(z_TE.device)
        bias_E = _whole(gate.bias).float()
        score_TE = z_TE + bias_E
        target_T = routing_target(self.config.margin_target, score_TE.detach())
        unit_T = length_T / weight_ED.shape[-1] ** 0.5
        distance_TE = hyperplane_distances(score_TE, weight_ED, target_T, unit_T)
        loss, violated = large_margin_loss(distance_TE, self.config.gamma, self.config.aggregate)
        if self.config.kind == "lsoftmax":
            m, lam = self.config.angle_factor, self.config.softening(self._step)
            loss = large_margin_softmax_loss(z_TE, length_T, weight_ED, bias_E, target_T, m=m, lam=lam)
        agreed = (score_TE.detach().argmax(dim=-1) == target_T).float().mean()
        return _MarginTerm(loss=loss, violated=violated, agreed=agreed)

    def _note(self, layer: int, margin: _MarginTerm) -> None:
        for name, value in (("margin_loss", margin.loss), ("margin_violation", margin.violated)):
            self._noted.setdefault(name, []).append(value.detach())
            self._noted.setdefault(f"{name}.{layer}", []).append(value.detach())
        self._noted.setdefault("target_agreement", []).append(margin.agreed)


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    """A router's weight or bias without gradient; gathered where it is sharded."""
    tensor = tensor.detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
