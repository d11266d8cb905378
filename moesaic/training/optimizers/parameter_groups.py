"""Which parameters an optimizer treats alike; each is in exactly one group, the fused 3-D experts included.

Tools that select by "is it a linear layer" or "has it two dimensions" pass by experts that are fused into [E, m, n]
tensors, and by routers that are plain parameters. Here the module that owns a parameter decides, and what no module
claims is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from torch import nn

from moesaic.errors import TrainingError
from moesaic.model.config import GPTMoEConfig
from moesaic.model.experts import GPTMoEExperts
from moesaic.model.router import BranchCoefficients, GPTMoERouter

__all__ = ["ParameterGroups", "ParameterRole", "parameter_groups"]


class ParameterRole(StrEnum):
    """What a parameter is to an optimizer."""

    MATRIX = "matrix"
    """A hidden matrix [m, n], or one per expert [E, m, n]: decayed, and orthogonalized by Muon."""
    ROUTER = "router"
    """The weights of routers and of branch coefficients: decayed, never orthogonalized."""
    EMBEDDING = "embedding"
    """Embedding and head: not decayed (a rare token's row would fade), never orthogonalized."""
    VECTOR = "vector"
    """Gains and biases: neither."""


@dataclass(frozen=True, kw_only=True)
class ParameterGroups:
    """The trained parameters of a model by role and name."""

    members: Mapping[ParameterRole, Mapping[str, nn.Parameter]]
    """Parameters of each role by their name in the model."""
    halves: frozenset[str]
    """Names of parameters that hold two matrices one above the other (gate and up projection of the experts)."""

    def numbers(self, role: ParameterRole) -> int:
        """How many single numbers a role has."""
        return sum(parameter.numel() for parameter in self.members[role].values())


def parameter_groups(model: Any) -> ParameterGroups:
    """Sort the parameters that require gradients.

    Raises:
        TrainingError: nothing is to be trained, a parameter was found in no group or in two, or the experts are not as
            many numbers as the configuration says.
    """
    members: dict[ParameterRole, dict[str, nn.Parameter]] = {role: {} for role in ParameterRole}
    halves = set()
    heads = [module for module in (model.get_input_embeddings(), model.get_output_embeddings()) if module is not None]
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            full = f"{path}.{name}" if path else name
            known = any(parameter is other for group in members.values() for other in group.values())
            if not parameter.requires_grad or known:  # a tied head is the embedding, under another name
                continue
            members[_role(module, parameter, heads)][full] = parameter
            if isinstance(module, GPTMoEExperts) and name == "gate_up_proj":
                halves.add(full)
    _check_coverage(model, members)
    return ParameterGroups(members=members, halves=frozenset(halves))


def _role(module: nn.Module, parameter: nn.Parameter, heads: list[nn.Module]) -> ParameterRole:
    if parameter.dim() < 2:
        return ParameterRole.VECTOR
    if any(module is head for head in heads) or isinstance(module, nn.Embedding):
        return ParameterRole.EMBEDDING
    if isinstance(module, GPTMoERouter | BranchCoefficients):
        return ParameterRole.ROUTER
    return ParameterRole.MATRIX


def _check_coverage(model: Any, members: Mapping[ParameterRole, Mapping[str, nn.Parameter]]) -> None:
    """Every trained number is in exactly one group, and every number of every trained expert is among the matrices."""
    grouped = [parameter for group in members.values() for parameter in group.values()]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise TrainingError("no parameter of the model requires gradients: nothing would be trained")
    if {id(parameter) for parameter in grouped} != {id(parameter) for parameter in trained} or len(grouped) != len(
        trained
    ):
        raise TrainingError(
            f"{len(grouped)} parameters were sorted into groups where {len(trained)} are trained: "
            "the model is built in a way that the optimizer does not know"
        )
    config = model.config
    if isinstance(config, GPTMoEConfig) and config.moe_layers:
        assert config.moe_intermediate_size is not None
        expected = sum(config.expert_counts) * 3 * config.moe_intermediate_size * config.hidden_size
        fused = [module for module in model.modules() if isinstance(module, GPTMoEExperts)]
        found = sum(p.numel() for module in fused for p in module.parameters(recurse=False) if p.requires_grad)
        plain = all(len(list(module.parameters(recurse=False))) == 2 for module in fused)
        if plain and found not in (0, expected):
            raise TrainingError(
                f"{found} numbers of experts are trained where the configuration has {expected}: train all or none"
            )
