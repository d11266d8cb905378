"""The stages of an adaptation, in their order: the field, then the task, or what is nearest to the task.

DAPT → TAPT → kNN-TAPT (Gururangan et al., "Don't Stop Pretraining", arXiv:2004.10964, sections 3, 4 and 5.2; 4.2 has
the order). Each stage begins with the weights of the one before. How this differs, since these models are decoders:

1. A peak of a tenth to a third of the pre-training rate, a short new warm-up and a cosine down to a tenth (Ibrahim et
   al., arXiv:2403.08763), in the place of the paper's rates for RoBERTa.
2. A share of general text is kept in every stage ("replay" in the same paper): 5% for a near field, up to 50% for a far
   one. `moesaic.training.adaptation.mixing_law` finds it from a few runs.
3. TAPT sees the task's text a few times rather than a hundred: there is no fresh masking, and a decoder that has read a
   text twenty times knows it by heart.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from moesaic.errors import RecipeError

__all__ = ["AdaptationPlan", "AdaptationStage", "StageKind", "StageSettings", "standard_plan"]


class StageKind(StrEnum):
    """What a stage reads."""

    DAPT = "dapt"
    """Text of the field."""
    TAPT = "tapt"
    """Unlabelled text of the task."""
    KNN_TAPT = "knn-tapt"
    """That, and the sentences of the field that are nearest to it."""


_ORDER = (StageKind.DAPT, StageKind.TAPT, StageKind.KNN_TAPT)


@dataclass(frozen=True, kw_only=True)
class AdaptationStage:
    """One stage.

    Raises:
        RecipeError: a value is out of its range.
    """

    kind: StageKind
    name: str
    """Of its run; letters, digits, - and _."""
    corpus: str
    """Where its text is, as a recipe names it."""
    passes: float = 1.0
    """How often the text is seen: above 0, to 100; below 1 a part of it."""
    rate_share: float = 0.2
    """Its peak learning rate, as a share of the model's in pre-training; above 0 to 1."""
    warmup_share: float = 0.01
    """Share of its steps until the peak, 0 to 0.5."""
    final_share: float = 0.1
    """Rate at its end, as a share of the peak; 0 to 1."""
    general_share: float = 0.1
    """Share of general text in every batch, 0 to below 1."""

    def __post_init__(self) -> None:
        """Check the ranges once."""
        object.__setattr__(self, "kind", StageKind(self.kind))
        if not self.name or not self.name.replace("-", "").replace("_", "").isalnum():
            raise RecipeError(f"name={self.name!r} must be letters, digits, - and _")
        if not self.corpus.strip():
            raise RecipeError(f"the stage {self.name!r} has no corpus: name the text that it reads")
        ranges = {
            "passes": 0 < self.passes <= 100,
            "rate_share": 0 < self.rate_share <= 1,
            "warmup_share": 0 <= self.warmup_share <= 0.5,
            "final_share": 0 <= self.final_share <= 1,
            "general_share": 0 <= self.general_share < 1,
        }
        for name, holds in ranges.items():
            if not holds:
                raise RecipeError(f"{name}={getattr(self, name)!r} of the stage {self.name!r} is out of its range")


@dataclass(frozen=True, kw_only=True)
class StageSettings:
    """A stage in numbers, for a trainer."""

    stage: AdaptationStage
    """What it was made of."""
    begins_with: str
    """Name of the run whose weights it begins with; for the first stage, the base."""
    learning_rate: float
    """Peak."""
    steps: int
    """Optimizer steps, enough for all passes."""
    warmup_steps: int
    """Steps until the peak."""
    ratios: dict[str, float]
    """Share of each corpus in every batch."""


@dataclass(frozen=True, kw_only=True)
class AdaptationPlan:
    """Stages one after the other.

    Raises:
        RecipeError: there is none, two share a name, their order is not DAPT, TAPT, kNN-TAPT, or general text is wanted
            and not given.
    """

    base: str
    """What the first stage begins with."""
    stages: tuple[AdaptationStage, ...]
    general_corpus: str = ""
    """Where general text is; may be empty if no stage keeps any."""

    def __post_init__(self) -> None:
        """Check what no stage can see by itself."""
        names = [stage.name for stage in self.stages]
        if not names or len(set(names)) != len(names):
            raise RecipeError(f"the stages {names} must be one at least, each with a name of its own")
        ranks = [_ORDER.index(stage.kind) for stage in self.stages]
        if ranks != sorted(ranks):
            raise RecipeError(
                f"the order {', '.join(stage.kind for stage in self.stages)} is not {', '.join(_ORDER)}: "
                "a task's text is forgotten when the field follows it"
            )
        keeping = [stage.name for stage in self.stages if stage.general_share]
        if keeping and not self.general_corpus.strip():
            raise RecipeError(f"{', '.join(keeping)} keep general text, and general_corpus is empty: name some")
        if self.general_corpus and self.general_corpus in {stage.corpus for stage in self.stages}:
            raise RecipeError(f"general_corpus={self.general_corpus!r} is a stage's own corpus: name another")

    def ratios(self, stage: AdaptationStage) -> dict[str, float]:
        """Share of each corpus in every batch of a stage."""
        own = {stage.corpus: 1 - stage.general_share}
        return own | ({self.general_corpus: stage.general_share} if stage.general_share else {})

    def settings(
        self, corpus_tokens: dict[str, int], *, pretraining_rate: float, tokens_per_step: int
    ) -> Iterator[StageSettings]:
        """The stages in numbers.

        Args:
            corpus_tokens: tokens of each stage's corpus.
            pretraining_rate: peak learning rate of the base's pre-training.
            tokens_per_step: tokens of one optimizer step.

        Raises:
            RecipeError: a number is out of its range, or a corpus has no number of tokens.
        """
        if not 0 < pretraining_rate < 1 or tokens_per_step < 1:
            raise RecipeError(
                f"pretraining_rate={pretraining_rate!r} must be above 0 and below 1, "
                f"tokens_per_step={tokens_per_step!r} at least 1"
            )
        before = self.base
        for stage in self.stages:
            if corpus_tokens.get(stage.corpus, 0) < 1:
                raise RecipeError(
                    f"nothing is said of the tokens of {stage.corpus!r}; known are {sorted(corpus_tokens)}"
                )
            own = corpus_tokens[stage.corpus] * stage.passes
            steps = max(1, math.ceil(own / (1 - stage.general_share) / tokens_per_step))
            yield StageSettings(
                stage=stage,
                begins_with=before,
                learning_rate=pretraining_rate * stage.rate_share,
                steps=steps,
                warmup_steps=min(steps, math.ceil(steps * stage.warmup_share)),
                ratios=self.ratios(stage),
            )
            before = stage.name


def standard_plan(
    *, base: str, field: str = "", task: str = "", nearest: str = "", general: str = "", general_share: float = 0.1
) -> AdaptationPlan:
    """A plan of the stages whose texts are there.

    The field is read once. The task's text is read four times, and its neighbours twice, at half the rate: they are
    little, and come last.
    """
    share = general_share if general else 0.0
    stages = []
    for kind, corpus, passes, rate in (
        (StageKind.DAPT, field, 1.0, 0.2),
        (StageKind.TAPT, task, 4.0, 0.1),
        (StageKind.KNN_TAPT, nearest, 2.0, 0.1),
    ):
        if corpus:
            stages.append(
                AdaptationStage(
                    kind=kind, name=str(kind), corpus=corpus, passes=passes, rate_share=rate, general_share=share
                )
            )
    return AdaptationPlan(base=base, stages=tuple(stages), general_corpus=general)
