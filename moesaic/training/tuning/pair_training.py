"""Training a classifier of pairs: a short run on one machine, measured on documents that it never saw.

The encoder is tuned whole with AdamW under a linear schedule with warm-up (Devlin et al., arXiv:1810.04805, appendix
A.3). What is kept is the state with the least loss on the calibration part; there the probabilities are calibrated too,
and the figures come from the test part.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from moesaic.errors import DivergedError, RecipeError
from moesaic.training.checkpoint import CheckpointStore
from moesaic.training.optimizers import OptimizerSet
from moesaic.training.tuning.pair_classifier import PairClassifier, difference
from moesaic.training.tuning.pair_quality import PairQuality, fit_calibration, pair_quality
from moesaic.training.tuning.pair_state import PairState, digest_of
from moesaic.training.tuning.text_pair import PairRelation, PairSplits, TextPair

__all__ = ["PairTrainingOptions", "TrainedPairs", "train_pairs"]

_CLIP = 1.0
_WEIGHT_DECAY = 0.01


@dataclass(frozen=True, kw_only=True)
class PairTrainingOptions:
    """How a classifier is trained.

    Raises:
        RecipeError: a value is out of its range.
    """

    encoder: str
    """A folder, or `package:NAME`."""
    max_tokens: int = 256
    """Most tokens of a pair."""
    epochs: int = 3
    """Passes over the training part."""
    batch: int = 32
    """Pairs of one step."""
    learning_rate: float = 5e-5
    """Peak, after the first tenth of the steps; it falls to 0 at the end."""
    measure_every: int = 200
    """Steps between two looks at the calibration part; it is looked at after the last step in any case."""
    seed: int = 0
    """Of the last layer, dropout and the order of pairs."""

    def __post_init__(self) -> None:
        """Check the ranges once."""
        for name in ("epochs", "batch", "measure_every"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name}={getattr(self, name)!r} must be at least 1")
        if not 0 < self.learning_rate < 1:
            raise RecipeError(f"learning_rate={self.learning_rate!r} must be above 0 and below 1")


@dataclass(frozen=True, kw_only=True)
class TrainedPairs:
    """A classifier, and how good it is."""

    classifier: PairClassifier
    before: PairQuality
    """On the test part, of the encoder with a random last layer."""
    after: PairQuality
    """On the test part."""
    hard_auc: float | None
    """AUC on the test part where what does not belong is from the same document; None if there is no such pair."""
    steps: int

    def save(
        self, folder: Path, relation: PairRelation, options: PairTrainingOptions, *, overwrite: bool = False
    ) -> None:
        """Write the classifier with its figures; errors are those of `PairClassifier.save`."""
        facts = {
            "relation": str(relation),
            "options": asdict(options),
            "steps": self.steps,
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "hard_auc": self.hard_auc,
        }
        self.classifier.save(folder, facts, overwrite=overwrite)


def train_pairs(
    splits: PairSplits,
    options: PairTrainingOptions,
    *,
    store: CheckpointStore | None = None,
    progress: Callable[[int, int, float], None] | None = None,
) -> TrainedPairs:
    """Train on one part, choose and calibrate on the second, measure on the third.

    Args:
        splits: the pairs.
        options: how.
        store: where the state is kept after each look at the calibration part, and where a training that was
            interrupted goes on: the classifier is the same as without the interruption.
        progress: called after each step with the step, their number, and the loss in nats.

    Raises:
        DivergedError: the loss or a gradient is not finite.
        RecipeError: the store holds a training with other pairs or options.
        DamagedRunError, StorageError: the store cannot be read or written.
        Other errors are those of `PairClassifier.begin`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        classifier = PairClassifier.begin(options.encoder, max_tokens=options.max_tokens)
        before = _quality(classifier, splits.test)
        steps = _fit(classifier, splits, options, store, progress)
    calibration = fit_calibration(classifier.log_odds(_texts(splits.calibration)), _labels(splits.calibration))
    classifier.calibrate(calibration)
    hard = [pair for pair in splits.test if pair.belongs or pair.hard]
    has_hard = any(pair.hard for pair in hard)
    return TrainedPairs(
        classifier=classifier,
        before=before,
        after=_quality(classifier, splits.test),
        hard_auc=_quality(classifier, hard).auc if has_hard else None,
        steps=steps,
    )


def _fit(
    classifier: PairClassifier,
    splits: PairSplits,
    options: PairTrainingOptions,
    store: CheckpointStore | None,
    progress: Callable[[int, int, float], None] | None,
) -> int:
    """Train, and leave the model in its best state; returns the number of steps."""
    state = PairState(classifier.model, _optimizers(classifier.model, options), digest_of(splits, options))
    if store is not None:
        state.resume(store)
    order = _order(len(splits.train), options)
    for chosen in order[state.step :]:
        rate = state.optimizers.learning_rate(_share_of_peak(state.step + 1, len(order)))
        loss = _step(classifier, state.optimizers, [splits.train[index] for index in chosen], state.step + 1, rate)
        state.step += 1
        if progress is not None:
            progress(state.step, len(order), loss)
        if state.step % options.measure_every == 0 or state.step == len(order):
            state.compare(_quality(classifier, splits.calibration).log_loss)
            if store is not None:
                state.save(store)
    state.restore_best()
    classifier.model.eval()
    return len(order)


def _optimizers(model: Any, options: PairTrainingOptions) -> OptimizerSet:
    decayed = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    plain = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": _WEIGHT_DECAY}, {"params": plain, "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(groups, lr=options.learning_rate)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return OptimizerSet([(adamw, options.learning_rate)], names)


def _step(
    classifier: PairClassifier, optimizers: OptimizerSet, pairs: Sequence[TextPair], step: int, rate: float
) -> float:
    model: Any = classifier.model
    model.train()
    optimizers.zero_grad()
    logits = difference(model(**classifier.encoded(_texts(pairs))))
    wanted = torch.tensor(_labels(pairs), dtype=logits.dtype, device=logits.device)
    loss = F.binary_cross_entropy_with_logits(logits, wanted)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
    for culprit, value in (("loss", loss.detach()), ("gradient", norm)):
        if not torch.isfinite(value):
            raise DivergedError(
                f"the {culprit} of step {step} is {float(value)} at a rate of {rate:g}: lower learning_rate",
                step=step,
                culprit=culprit,
            )
    optimizers.step()
    return float(loss.detach())


def _order(pairs: int, options: PairTrainingOptions) -> list[list[int]]:
    """The pairs of each step."""
    random = np.random.default_rng(options.seed)
    steps = []
    for _ in range(options.epochs):
        shuffled = random.permutation(pairs).tolist()
        steps += [shuffled[start : start + options.batch] for start in range(0, pairs, options.batch)]
    return steps


def _share_of_peak(step: int, steps: int) -> float:
    warm = max(1, steps // 10)
    return step / warm if step <= warm else (steps + 1 - step) / max(1, steps + 1 - warm)


def _quality(classifier: PairClassifier, pairs: Sequence[TextPair]) -> PairQuality:
    return pair_quality(classifier.log_odds(_texts(pairs)), _labels(pairs))


def _texts(pairs: Sequence[TextPair]) -> list[tuple[str, str]]:
    return [(pair.first, pair.second) for pair in pairs]


def _labels(pairs: Sequence[TextPair]) -> list[bool]:
    return [pair.belongs for pair in pairs]
