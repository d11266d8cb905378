"""Optimizers of a run: AdamW, Muon batched over experts, LAMB, and AdamW with 8-bit moments."""

from moesaic.training.optimizers.lamb import Lamb
from moesaic.training.optimizers.muon import Muon, orthogonalized
from moesaic.training.optimizers.optimizer_config import OptimizerConfig, built_optimizers
from moesaic.training.optimizers.optimizer_set import OptimizerSet
from moesaic.training.optimizers.parameter_groups import ParameterGroups, ParameterRole, parameter_groups

__all__ = [
    "Lamb",
    "Muon",
    "OptimizerConfig",
    "OptimizerSet",
    "ParameterGroups",
    "ParameterRole",
    "built_optimizers",
    "orthogonalized",
    "parameter_groups",
]
