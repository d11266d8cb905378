"""Which parameters of a decoder belong together, and training some kinds alone.

Every parameter has exactly one kind. A name that fits none is refused rather than left out: tools that look for linear
layers pass by experts that are fused into 3-D weights, and a run that silently trained a tenth of what it said is worse
than one that does not start. So the experts are also counted against what the configuration says they must be.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from torch import nn
from transformers import PreTrainedModel

from moesaic.errors import RecipeError, TrainingError, UnsupportedModelError
from moesaic.model.config import GPTMoEConfig

__all__ = [
    "ParameterKind",
    "TrainedParameters",
    "check_experts",
    "expert_parameters",
    "parameters_by_kind",
    "train_kinds",
    "trained_parameters",
]


class ParameterKind(StrEnum):
    """A part of a decoder."""

    ATTENTION = "attention"
    """Queries, keys, values and outputs."""
    DENSE = "dense"
    """Feed-forward layers, and the residual MLP of mixtures."""
    EXPERTS = "experts"
    """Routed experts."""
    ROUTER = "router"
    """What decides between experts, and between them and the residual MLP."""
    NORMS = "norms"
    """Gains of the normalisations."""
    EMBEDDINGS = "embeddings"
    """Token embeddings and the head."""


_LAYER = r"(?:^|\.)layers\.\d+\."
_PATTERNS: Mapping[ParameterKind, re.Pattern[str]] = {
    ParameterKind.ATTENTION: re.compile(_LAYER + r"self_attn\.[qkvo]_proj\.(?:weight|bias)$"),
    ParameterKind.DENSE: re.compile(_LAYER + r"mlp\.(?:residual\.)?(?:gate|up|down)_proj\.(?:weight|bias)$"),
    ParameterKind.EXPERTS: re.compile(_LAYER + r"mlp\.experts\.(?:gate_up|down)_proj$"),
    ParameterKind.ROUTER: re.compile(_LAYER + r"mlp\.(?:gate\.weight|coefficients\.(?:weight|bias))$"),
    ParameterKind.NORMS: re.compile(r"(?:^|[._])(?:layernorm|norm)\.weight$"),
    ParameterKind.EMBEDDINGS: re.compile(r"(?:^|\.)(?:embed_tokens|lm_head)\.weight$"),
}
_PARAMETRIZED = re.compile(r"parametrizations\.(\w+)\.original$")


@dataclass(frozen=True, kw_only=True)
class TrainedParameters:
    """How many numbers of a model are trained."""

    by_kind: Mapping[ParameterKind, int]
    """Those of each kind that are trained as they are."""
    low_rank: int = 0
    """Those of low-rank updates."""
    total: int
    """All numbers of the model, low-rank updates left out."""

    @property
    def trained(self) -> int:
        """All that are trained."""
        return sum(self.by_kind.values()) + self.low_rank


def parameters_by_kind(model: nn.Module) -> dict[ParameterKind, dict[str, nn.Parameter]]:
    """Parameters of each kind with the names that they have on their own, before low-rank updates.

    Raises:
        UnsupportedModelError: a parameter fits no kind.
    """
    found: dict[ParameterKind, dict[str, nn.Parameter]] = {kind: {} for kind in ParameterKind}
    for given, parameter in model.named_parameters():
        if re.search(r"parametrizations\.\w+\.0\.", given):
            continue
        name = _PARAMETRIZED.sub(r"\1", given)
        kinds = [kind for kind, pattern in _PATTERNS.items() if pattern.search(name)]
        if len(kinds) != 1:
            raise UnsupportedModelError(
                f"the parameter {given!r} is of no known kind ({', '.join(ParameterKind)}): tune a GPT-MoE, or a dense "
                "model of a family that Moesaic builds on"
            )
        found[kinds[0]][name] = parameter
    return found


def expert_parameters(model: PreTrainedModel) -> int:
    """Numbers that the experts have by the configuration: 3 F D for each of them; 0 for a dense model."""
    config = model.config
    if not isinstance(config, GPTMoEConfig):
        return 0
    assert config.moe_intermediate_size is not None
    return sum(config.expert_counts) * 3 * config.moe_intermediate_size * config.hidden_size


def train_kinds(model: PreTrainedModel, kinds: Collection[ParameterKind]) -> TrainedParameters:
    """Let gradients flow to these kinds alone.

    Raises:
        RecipeError: the model has no parameter of one of the kinds.
        TrainingError: the experts that were found are not those of the configuration.
        UnsupportedModelError: a parameter fits no kind.
    """
    found = parameters_by_kind(model)
    for kind in kinds:
        if not found[kind]:
            has = ", ".join(kind for kind, parameters in found.items() if parameters)
            raise RecipeError(f"the model has no {kind} to train; it has {has}")
    check_experts(model, found[ParameterKind.EXPERTS])
    for kind, parameters in found.items():
        for parameter in parameters.values():
            parameter.requires_grad_(kind in kinds)
    return trained_parameters(model)


def check_experts(model: PreTrainedModel, parameters: Mapping[str, nn.Parameter]) -> None:
    """Raise `TrainingError` unless these are all numbers of all experts."""
    counted, expected = sum(parameter.numel() for parameter in parameters.values()), expert_parameters(model)
    if counted != expected:
        raise TrainingError(
            f"{counted} numbers of experts were found where the configuration has {expected}: "
            "the model was changed after it was loaded; load it again"
        )


def trained_parameters(model: nn.Module) -> TrainedParameters:
    """What of a model gets gradients now."""
    found = parameters_by_kind(model)
    by_kind = {
        kind: sum(parameter.numel() for parameter in parameters.values() if parameter.requires_grad)
        for kind, parameters in found.items()
    }
    total = sum(parameter.numel() for parameters in found.values() for parameter in parameters.values())
    everything = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    kept = {kind: count for kind, count in by_kind.items() if count}
    return TrainedParameters(by_kind=kept, low_rank=everything - sum(by_kind.values()), total=total)
