"""`PairState`: how far the training of a classifier of pairs has come; an interrupted one goes on from it exactly."""

import dataclasses
import hashlib
import json
import logging
import math
from typing import Any

import torch

from moesaic.errors import RecipeError
from moesaic.training.checkpoint import CheckpointStore
from moesaic.training.optimizers import OptimizerSet
from moesaic.training.random_state import random_state, restore_random_state
from moesaic.training.tuning.text_pair import PairSplits
from moesaic.training.weight_state import optimizer_tensors, restore_optimizer, restore_weights, weight_tensors

__all__ = ["PairState", "digest_of"]

_log = logging.getLogger(__name__)


def digest_of(splits: PairSplits, options: Any) -> str:
    """What decides every step: SHA-256 over the pairs and the options (a dataclass)."""
    asked = {"splits": dataclasses.asdict(splits), "options": dataclasses.asdict(options)}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


class PairState:
    """Weights, moments, random state, the step, and the best weights so far.

    Args:
        model: what is trained.
        optimizers: over its parameters.
        digest: of what decides the steps; a store of another one is refused.
    """

    def __init__(self, model: Any, optimizers: OptimizerSet, digest: str) -> None:
        self._model = model
        self._digest = digest
        self._best = _copied(model)
        self._best_loss = math.inf
        self.optimizers = optimizers
        self.step = 0
        """Steps that are done."""

    def compare(self, loss: float) -> None:
        """Remember the weights as they are if no loss on the calibration part was lower."""
        if loss < self._best_loss:
            self._best, self._best_loss = _copied(self._model), loss

    @torch.no_grad()
    def restore_best(self) -> None:
        """Give the model its best weights."""
        for name, tensor in weight_tensors(self._model).items():
            tensor.copy_(self._best[name])

    def save(self, store: CheckpointStore) -> None:
        """Keep all of it; raises `StorageError` if the disk refuses."""
        groups = {
            "weights": weight_tensors(self._model),
            "best": self._best,
            "optimizer": optimizer_tensors(self.optimizers),
        }
        state = {"digest": self._digest, "best_loss": self._best_loss}
        store.save(self.step, 0, groups, state=state, local=random_state())

    def resume(self, store: CheckpointStore) -> None:
        """Go on where the store's newest sound checkpoint was written; nothing happens if it has none.

        Raises:
            RecipeError: it belongs to other pairs or options.
            DamagedRunError: no checkpoint is sound.
        """
        checkpoint = store.latest(_log.warning)
        if checkpoint is None:
            return
        if checkpoint.state["digest"] != self._digest:
            raise RecipeError(
                f"{store.folder} holds an unfinished training with other texts or options: give its recipe and texts "
                "to go on, or remove that folder to begin anew"
            )
        restore_weights(self._model, checkpoint)
        restore_optimizer(self.optimizers, checkpoint)
        restore_random_state(checkpoint.local(0) or {})
        self._best = {name: checkpoint.tensor("best", name) for name in self._best}
        self._best_loss = checkpoint.state["best_loss"]
        self.step = checkpoint.step


def _copied(model: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in weight_tensors(model).items()}
