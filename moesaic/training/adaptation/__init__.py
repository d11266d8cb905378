"""Adapting a model to a field: which texts to go on with, in which order, how much general text to keep, and the cost.

`plan_recipe` reads a plan, `adapting` carries it out: each stage is an ordinary run of `moesaic.training.pretraining`.
"""

from moesaic.training.adaptation.mixing_law import MixingChoice, MixingLaw, RatioPoint, choose_ratio, fit_law
from moesaic.training.adaptation.nearest_selection import NearestOptions, NearestSelection, nearest_sentences
from moesaic.training.adaptation.stage_plan import (
    AdaptationPlan,
    AdaptationStage,
    StageKind,
    StageSettings,
    standard_plan,
)

__all__ = [
    "AdaptationPlan",
    "AdaptationStage",
    "MixingChoice",
    "MixingLaw",
    "NearestOptions",
    "NearestSelection",
    "RatioPoint",
    "StageKind",
    "StageSettings",
    "choose_ratio",
    "fit_law",
    "nearest_sentences",
    "standard_plan",
]
