"""Low-rank updates of frozen weights: LoRA, on linear layers and on experts that are fused into 3-D weights.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv:2106.09685), section 4.1: W + (alpha / r) B A,
with A random and B zero at the beginning. `rank_stabilized` scales by alpha / sqrt(r) instead (Kalajdzievski,
arXiv:2312.03732, section 3). How this differs from the paper:

1. The updated weight is computed and used, rather than the update added to the output. For top-1 experts that is the
   only way that works with every entry of transformers' experts registry, and merging becomes exact by construction:
   the merged weight is the very tensor that was trained with, bit for bit.
2. Each expert has an update of its own: A [E, r, in], B [E, out, r].
3. A and B are kept in fp32 whatever the model's precision, and the sum is rounded once.

Why not PEFT, whose `target_parameters` reaches 3-D weights too: it computes the same, as fast (the tests compare), but

- merging moves logits of a small fp32 model by 1.4e-6, because its linear layers add to outputs; here by 0;
- it renames what it wraps, and merges whole models only. Here the frozen weights keep a name that says where they
  belong, so that a run is written from its checkpoint one tensor at a time (`MergedWeights`), sharded or not;
- it does not check that every expert was reached, nor that an adapter meets the weights that it was trained on.

Shapes: E experts, O outputs, I inputs, R rank.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from moesaic.errors import RecipeError, TrainingError
from moesaic.training.tuning.parameter_kinds import (
    ParameterKind,
    TrainedParameters,
    check_experts,
    parameters_by_kind,
    trained_parameters,
)

__all__ = [
    "ADAPTABLE",
    "LowRankOptions",
    "LowRankUpdate",
    "MergedWeights",
    "add_low_rank",
    "low_rank_updates",
    "merge_low_rank",
]

ADAPTABLE = (ParameterKind.ATTENTION, ParameterKind.DENSE, ParameterKind.EXPERTS)
"""Kinds that are matrices."""


@dataclass(frozen=True, kw_only=True)
class LowRankOptions:
    """What is updated, and how.

    Raises:
        RecipeError: a value is out of its range.
    """

    rank: int = 16
    """R, 1 to 1024; below the smaller side of every matrix that is updated."""
    alpha: float = 32.0
    """Weight of the update: it is scaled by alpha / rank."""
    rank_stabilized: bool = False
    """Whether to scale by alpha / sqrt(rank), so that a larger rank learns as fast."""
    targets: tuple[ParameterKind, ...] = field(default=ADAPTABLE)
    """Kinds of weights, of attention, dense and experts; a kind that the model lacks is refused."""
    seed: int = 0
    """Of A."""

    def __post_init__(self) -> None:
        """Check the ranges once."""
        unknown = [kind for kind in self.targets if kind not in ADAPTABLE]
        if unknown or not self.targets or len(set(self.targets)) != len(self.targets):
            raise RecipeError(
                f"targets={[str(kind) for kind in self.targets]!r} must be some of {', '.join(ADAPTABLE)}, each once"
            )
        object.__setattr__(self, "targets", tuple(ParameterKind(kind) for kind in self.targets))
        if not 1 <= self.rank <= 1024:
            raise RecipeError(f"rank={self.rank!r} must be 1 to 1024")
        if not 0 < self.alpha < math.inf:
            raise RecipeError(f"alpha={self.alpha!r} must be a finite number above 0")

    @property
    def scale(self) -> float:
        """What B A is multiplied by."""
        return self.alpha / (math.sqrt(self.rank) if self.rank_stabilized else self.rank)


class LowRankUpdate(nn.Module):
    """W + scale * B A, for W [O, I] or [E, O, I]."""

    def __init__(self, weight: torch.Tensor, options: LowRankOptions, generator: torch.Generator) -> None:
        super().__init__()
        *lead, rows, columns = weight.shape
        bound = 1 / math.sqrt(columns)
        a = torch.empty(*lead, options.rank, columns).uniform_(-bound, bound, generator=generator)
        self.lora_A = nn.Parameter(a.to(weight.device))
        self.lora_B = nn.Parameter(torch.zeros(*lead, rows, options.rank, device=weight.device))
        self.scale = options.scale
        self._holds = False
        self._held: torch.Tensor | None = None
        self._hooks: list[RemovableHandle] = []

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The updated weight, in the dtype of `weight`."""
        if self._held is not None:
            return self._held
        updated = _updated(weight, self.lora_A, self.lora_B, self.scale)
        if self._holds:
            self._held = updated
        return updated

    def compute_once(self, module: nn.Module) -> None:
        """Compute the update once in a pass of `module`, which asks for its weight many times.

        The hooks run again when a pass is recomputed for its gradients.
        """
        self._hooks = [
            module.register_forward_pre_hook(self._hold),
            module.register_forward_hook(self._let_go, always_call=True),
        ]

    def unhook(self) -> None:
        """Leave the module of `compute_once` alone."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def _hold(self, *_: Any) -> None:
        self._holds, self._held = True, None

    def _let_go(self, *_: Any) -> None:
        self._holds, self._held = False, None


class MergedWeights(Mapping[str, torch.Tensor]):
    """Weights of a checkpoint with low-rank updates, as those of the merged model, each merged when it is read.

    So a run whose updates were trained is written without a model in memory. Other tensors pass as they are.

    Args:
        tensors: by the names that they have in the model with updates.
        options: with which the updates were made.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor], options: LowRankOptions) -> None:
        self._tensors = tensors
        self._scale = options.scale
        # The experts of a layer are asked for one after another: each tensor is merged once.
        self._last: tuple[str, torch.Tensor] | None = None
        self._stored = {_ORIGINAL.sub(r".\1", name): name for name in tensors if not _FACTOR.search(name)}

    def __getitem__(self, name: str) -> torch.Tensor:
        stored = self._stored[name]
        if stored == name:
            return self._tensors[name]
        if self._last is None or self._last[0] != name:
            path = stored.removesuffix("original")
            a, b = self._tensors[f"{path}0.lora_A"], self._tensors[f"{path}0.lora_B"]
            self._last = (name, _updated(self._tensors[stored], a, b, self._scale))
        return self._last[1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)


_ORIGINAL = re.compile(r"\.parametrizations\.(\w+)\.original$")
_FACTOR = re.compile(r"\.parametrizations\.\w+\.0\.lora_[AB]$")


def _updated(weight: torch.Tensor, a: torch.Tensor, b: torch.Tensor, scale: float) -> torch.Tensor:
    """W + scale * B A in the dtype of W; under autocast too, in fp32."""
    with torch.autocast(weight.device.type, enabled=False):
        add = torch.addmm if weight.dim() == 2 else torch.baddbmm
        return add(weight.float(), b.float(), a.float(), alpha=scale).to(weight.dtype)


def add_low_rank(model: PreTrainedModel, options: LowRankOptions) -> TrainedParameters:
    """Freeze the model and put updates on its weights, in place; at first they change nothing.

    Raises:
        RecipeError: the model lacks a target, has updates already, or the rank is too large for one of its weights.
        TrainingError: not every expert could be reached.
        UnsupportedModelError: a parameter fits no kind.
    """
    if next(low_rank_updates(model), None) is not None:
        raise RecipeError("the model has low-rank updates already: merge them, or load the model again")
    found = parameters_by_kind(model)
    check_experts(model, found[ParameterKind.EXPERTS])
    chosen = {name: weight for kind in options.targets for name, weight in found[kind].items() if weight.dim() > 1}
    for kind in options.targets:
        if not found[kind]:
            raise RecipeError(f"the model has no {kind} to update: leave it out of targets")
    for name, weight in chosen.items():
        if options.rank >= min(weight.shape[-2:]):
            raise RecipeError(f"rank={options.rank} must be below the smaller side of {name} {tuple(weight.shape)}")

    generator = torch.Generator().manual_seed(options.seed)
    model.requires_grad_(False)
    for name, weight in chosen.items():
        owner, _, own_name = name.rpartition(".")
        module = model.get_submodule(owner)
        update = LowRankUpdate(weight, options, generator)
        parametrize.register_parametrization(module, own_name, update, unsafe=True)
        if weight.dim() == 3:
            update.compute_once(module)
    if len(list(low_rank_updates(model))) != len(chosen):
        raise TrainingError(
            f"{len(chosen)} weights were to be updated, but some share a name: this is a fault of Moesaic"
        )
    return trained_parameters(model)


def low_rank_updates(model: nn.Module) -> Iterator[tuple[str, nn.Module, str, LowRankUpdate]]:
    """Natural name of every updated weight, the module that has it, its name there, and the update."""
    for path, module in model.named_modules():
        if isinstance(module, parametrize.ParametrizationList) and isinstance(module[0], LowRankUpdate):
            owner, _, own_name = path.rpartition(".parametrizations.")
            yield f"{owner}.{own_name}", model.get_submodule(owner), own_name, module[0]


@torch.no_grad()
def merge_low_rank(model: nn.Module) -> int:
    """Put the updated weights in the place of the frozen ones; returns how many. Every parameter is trainable again.

    Raises:
        TrainingError: an updated weight is not finite; nothing is merged then.
    """
    updates = list(low_rank_updates(model))
    for name, module, own_name, _ in updates:
        if not torch.isfinite(getattr(module, own_name)).all():
            raise TrainingError(f"the update of {name} is not finite: go back to an earlier checkpoint of the run")
    for _, module, own_name, update in updates:
        parametrize.remove_parametrizations(module, own_name, leave_parametrized=True)
        update.unhook()
    if updates:
        model.requires_grad_(True)
    return len(updates)
