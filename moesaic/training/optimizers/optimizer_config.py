"""The `[optimizer]` table of a recipe, and the optimizers that it asks for."""

from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

import torch
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from moesaic.errors import RecipeError
from moesaic.training.optimizers.eight_bit import eight_bit_adamw
from moesaic.training.optimizers.lamb import Lamb
from moesaic.training.optimizers.muon import Muon
from moesaic.training.optimizers.optimizer_set import OptimizerSet
from moesaic.training.optimizers.parameter_groups import ParameterGroups, ParameterRole, parameter_groups

__all__ = ["OptimizerConfig", "built_optimizers"]

_DECAYED = (ParameterRole.MATRIX, ParameterRole.ROUTER)


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """The `[optimizer]` table of a recipe."""

    kind: Literal["adamw", "muon", "lamb", "adamw8bit"] = "adamw"
    """`muon` takes the hidden matrices (experts included) and leaves the rest to AdamW."""
    learning_rate: float = 3e-4
    """Peak learning rate."""
    rest_learning_rate: float | None = None
    """Peak learning rate of what Muon leaves to AdamW; `learning_rate` if not given."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decays of AdamW's and LAMB's moments."""
    epsilon: float = 1e-8
    """Added to the root of the second moment."""
    weight_decay: float = 0.1
    """Decoupled decay of matrices and routers; gains, biases, embeddings and heads have none."""
    clip_norm: float = 1.0
    """Largest norm of all gradients together; 0 leaves them as they are."""
    momentum: float = 0.95
    """Decay of Muon's momentum."""
    iterations: int = 5
    """Newton-Schulz steps of Muon."""
    embedding_gradient: float = 1.0
    """Share of the gradient that reaches the input embedding, above 0; 0.1 steadies large runs (GLM-130B)."""

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        for name in ("learning_rate", "rest_learning_rate", "epsilon"):
            value = getattr(self, name)
            if value is not None and not (isfinite(value) and value > 0):
                raise RecipeError(f"{name}={value!r} must be a finite number above 0")
        for name in ("weight_decay", "clip_norm"):
            if not (isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise RecipeError(f"{name}={getattr(self, name)!r} must be a finite number of at least 0")
        if not all(0 <= beta < 1 for beta in (*self.betas, self.momentum)):
            raise RecipeError(f"betas={self.betas!r} and momentum={self.momentum!r} must be at least 0 and below 1")
        if self.iterations < 1 or not 0 < self.embedding_gradient <= 1:
            raise RecipeError(
                f"iterations={self.iterations!r} must be at least 1, embedding_gradient={self.embedding_gradient!r} "
                "above 0 and at most 1"
            )
        if self.rest_learning_rate is not None and self.kind != "muon":
            raise RecipeError(f"rest_learning_rate is Muon's, and kind={self.kind!r}: leave it out")


def built_optimizers(model: Any, config: OptimizerConfig) -> OptimizerSet:
    """Optimizers over all trained parameters of a model.

    Raises:
        TrainingError: a parameter fits no group (see `parameter_groups`).
        MissingDependencyError: `adamw8bit` cannot run here.
        RecipeError: Muon on a model without trained matrices.
    """
    groups = parameter_groups(model)
    names = {id(p): name for members in groups.members.values() for name, p in members.items()}
    if config.kind == "muon":
        matrices = groups.members[ParameterRole.MATRIX]
        if not matrices:
            raise RecipeError("optimizer.kind='muon' has no hidden matrix to train here: set kind='adamw'")
        muon = Muon(
            list(matrices.values()),
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            iterations=config.iterations,
            halves=frozenset(id(matrices[name]) for name in groups.halves if name in matrices),
        )
        rest = _param_groups(groups, config, without=ParameterRole.MATRIX)
        rate = config.rest_learning_rate or config.learning_rate
        others: list[tuple[Optimizer, float]] = [(_adamw(rest, rate, config), rate)] if rest else []
        return OptimizerSet([(muon, config.learning_rate), *others], names)
    everything = _param_groups(groups, config)
    options: dict[str, Any] = {"lr": config.learning_rate, "betas": config.betas, "eps": config.epsilon}
    if config.kind == "lamb":
        return OptimizerSet([(Lamb(everything, **options), config.learning_rate)], names)
    if config.kind == "adamw8bit":
        return OptimizerSet([(eight_bit_adamw(everything, **options), config.learning_rate)], names)
    return OptimizerSet([(_adamw(everything, config.learning_rate, config), config.learning_rate)], names)


def _param_groups(
    groups: ParameterGroups, config: OptimizerConfig, without: ParameterRole | None = None
) -> list[dict[str, Any]]:
    """One group of torch's for decayed and one for other parameters, empty ones left out."""
    decayed = [p for role in _DECAYED if role is not without for p in groups.members[role].values()]
    plain = [p for role in ParameterRole if role not in _DECAYED for p in groups.members[role].values()]
    pairs = ((decayed, config.weight_decay), (plain, 0.0))
    return [{"params": params, "weight_decay": decay} for params, decay in pairs if params]


def _adamw(groups: list[dict[str, Any]], rate: float, config: OptimizerConfig) -> Optimizer:
    sharded = any(isinstance(parameter, DTensor) for group in groups for parameter in group["params"])
    # One fused kernel over each parameter: several times faster on a CPU than a chain of small ones.
    return torch.optim.AdamW(groups, lr=rate, betas=config.betas, eps=config.epsilon, fused=not sharded)
