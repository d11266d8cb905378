"""Losses that shape the routers of a GPT-MoE while it trains; nothing of them is left in the served model.

- `RouterConfig` chooses them, `ConfiguredObjective` computes them for the trainer.
- `large_margin` and `large_margin_softmax` hold the losses, `routing_target` what they pull tokens to.
"""

from moesaic.training.router_losses.balanced_assignment import balanced_assignment
from moesaic.training.router_losses.configured_objective import ConfiguredObjective
from moesaic.training.router_losses.large_margin import hyperplane_distances, large_margin_loss
from moesaic.training.router_losses.large_margin_softmax import large_margin_softmax_loss, margin_logits, psi
from moesaic.training.router_losses.router_config import RouterCoefficients, RouterConfig
from moesaic.training.router_losses.router_tap import RouterTap
from moesaic.training.router_losses.routing_target import routing_target

__all__ = [
    "ConfiguredObjective",
    "RouterCoefficients",
    "RouterConfig",
    "RouterTap",
    "balanced_assignment",
    "hyperplane_distances",
    "large_margin_loss",
    "large_margin_softmax_loss",
    "margin_logits",
    "psi",
    "routing_target",
]
