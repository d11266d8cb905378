"""What tuning changes of a model: all of it, its experts alone, or low-rank updates; one call before and one after.

trained = tune(model, options)      # freezes what stays, and says what is trained
…                                   # any loop over model.parameters() that require gradients
finish_tuning(model)                # an ordinary model again, to be saved
"""

from dataclasses import dataclass, field
from enum import StrEnum

from transformers import PreTrainedModel

from moesaic.errors import RecipeError
from moesaic.training.tuning.low_rank import LowRankOptions, add_low_rank, merge_low_rank
from moesaic.training.tuning.parameter_kinds import ParameterKind, TrainedParameters, train_kinds

__all__ = ["TunedPart", "TuningOptions", "finish_tuning", "tune"]


class TunedPart(StrEnum):
    """What is trained."""

    FULL = "full"
    """Every parameter."""
    EXPERTS = "experts"
    """The routed experts alone: what every token shares, and who gets which token, stays as it was."""
    LOW_RANK = "lora"
    """Low-rank updates of frozen weights (`moesaic.training.tuning.low_rank`)."""


@dataclass(frozen=True, kw_only=True)
class TuningOptions:
    """The `[tuning]` table of a recipe.

    Raises:
        RecipeError: a value is unknown.
    """

    part: TunedPart = TunedPart.FULL
    """What is trained: full, experts or lora."""
    lora: LowRankOptions = field(default_factory=LowRankOptions)
    """How, if it is lora."""

    def __post_init__(self) -> None:
        """Know the part."""
        if self.part not in list(TunedPart):
            raise RecipeError(f"part={self.part!r} must be one of {', '.join(TunedPart)}")
        object.__setattr__(self, "part", TunedPart(self.part))


def tune(model: PreTrainedModel, options: TuningOptions) -> TrainedParameters:
    """Prepare a model, in place.

    Raises:
        RecipeError: the model lacks what is to be trained.
        TrainingError: the experts that were found are not those of the configuration.
        UnsupportedModelError: a parameter fits no kind.
    """
    match options.part:
        case TunedPart.LOW_RANK:
            return add_low_rank(model, options.lora)
        case TunedPart.EXPERTS:
            return train_kinds(model, [ParameterKind.EXPERTS])
        case TunedPart.FULL:
            has_experts = bool(getattr(model, "mixtures", ()))
            mixture_kinds = {ParameterKind.EXPERTS, ParameterKind.ROUTER}
            return train_kinds(model, [kind for kind in ParameterKind if has_experts or kind not in mixture_kinds])


def finish_tuning(model: PreTrainedModel) -> int:
    """Merge low-rank updates and let gradients flow everywhere again; returns how many updates there were."""
    merged = merge_low_rank(model)
    model.requires_grad_(True)
    return merged
