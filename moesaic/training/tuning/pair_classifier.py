"""A small encoder that says whether two texts belong together, as a plain folder of Hugging Face.

The folder is an ordinary sequence-classification model with the labels `unrelated` and `related`: transformers'
pipelines read it too. Its calibration is part of its last layer, so that whoever computes a softmax gets honest
probabilities. `pairs.json` beside it says what it was trained on and how good it is.
"""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from moesaic.artifact.staging import StagingFolder
from moesaic.errors import InputError, MissingDependencyError, UnsupportedModelError
from moesaic.training.data.durable import made_folder, storage_errors
from moesaic.training.tuning.pair_quality import Calibration, chances_of

__all__ = ["FACTS_NAME", "LABELS", "PairClassifier", "difference", "find_encoder"]

LABELS = ("unrelated", "related")
"""Of the two outputs."""
FACTS_NAME = "pairs.json"
"""What the folder says of itself."""

_PACKAGE = "package:"
_BATCH = 32
_MOST_TOKENS = 512


class PairClassifier:
    """Scores pairs of texts.

    Args:
        model: a sequence-classification model with two outputs.
        tokenizer: its tokenizer.
        max_tokens: most tokens of a pair; of a longer one, the longer text is cut.
    """

    def __init__(self, model: Any, tokenizer: Any, *, max_tokens: int) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens

    @classmethod
    def begin(cls, encoder: str | Path, *, max_tokens: int = 256) -> Self:
        """An untrained classifier on an encoder, named as `find_encoder` takes it; its last layer is random.

        Raises what `find_encoder` raises, and UnsupportedModelError if the folder is no encoder.
        """
        labels = dict(enumerate(LABELS))
        folder = find_encoder(encoder)
        model, tokenizer = _loaded(folder, num_labels=2, id2label=labels, label2id={v: k for k, v in labels.items()})
        return cls(model, tokenizer, max_tokens=_fitting(model, tokenizer, max_tokens))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """What `save` wrote.

        Raises:
            UnsupportedModelError: it is no classifier of pairs, or damaged.
        """
        try:
            facts = json.loads((folder / FACTS_NAME).read_text(encoding="utf-8"))
            max_tokens = int(facts["max_tokens"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UnsupportedModelError(
                f"{folder} is no classifier of pairs ({error}): give a folder that was trained as one"
            ) from error
        model, tokenizer = _loaded(folder)
        if tuple(model.config.id2label.get(index) for index in range(model.config.num_labels)) != LABELS:
            raise UnsupportedModelError(f"{folder} has the labels {model.config.id2label}, not {', '.join(LABELS)}")
        return cls(model, tokenizer, max_tokens=max_tokens)

    def save(self, folder: Path, facts: dict[str, Any], *, overwrite: bool = False) -> None:
        """Write the folder, whole or not at all.

        Raises:
            InputError: something is there already and may not be replaced.
            StorageError: the disk refuses.
        """
        occupied = InputError(f"{folder} is there already: choose another name, or allow to replace it")
        if folder.exists() and not overwrite:
            raise occupied
        made_folder(folder.absolute().parent)
        with storage_errors(folder):
            StagingFolder.remove_leftovers(folder.absolute())
            staging = StagingFolder.claim(folder.absolute())
            try:
                self.model.save_pretrained(staging.path)
                self.tokenizer.save_pretrained(staging.path)
                content = json.dumps(facts | {"max_tokens": self.max_tokens}, ensure_ascii=False, indent=2)
                (staging.path / FACTS_NAME).write_text(content + "\n", encoding="utf-8")
                if not staging.publish():
                    if not overwrite:
                        raise occupied
                    staging.publish_over()
            except BaseException:
                staging.discard()
                raise
            staging.release()

    def calibrate(self, calibration: Calibration) -> None:
        """Move the log-odds of all later answers by a line, in the last layer itself."""
        layer = _last_layer(self.model)
        with torch.no_grad():
            layer.weight.mul_(calibration.slope)
            layer.bias.mul_(calibration.slope)
            layer.bias[1] += calibration.shift

    def probabilities(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float64]:
        """How probable it is that each pair belongs together, [n]."""
        return chances_of(self.log_odds(pairs))

    def log_odds(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float64]:
        """The same before the logistic function, [n]; what to add up with other evidence."""
        found = np.zeros(len(pairs))
        order = sorted(range(len(pairs)), key=lambda index: len(pairs[index][0]) + len(pairs[index][1]))
        was_training = self.model.training
        self.model.eval()
        with torch.inference_mode():
            for start in range(0, len(order), _BATCH):
                chosen = order[start : start + _BATCH]
                found[chosen] = difference(self.model(**self.encoded([pairs[index] for index in chosen]))).numpy(
                    force=True
                )
        self.model.train(was_training)
        return found

    def encoded(self, pairs: Sequence[tuple[str, str]]) -> Any:
        """A batch of pairs as the model takes it."""
        first, second = ([text.encode(errors="replace").decode() for text in side] for side in zip(*pairs, strict=True))
        batch = self.tokenizer(
            first, second, padding=True, truncation="longest_first", max_length=self.max_tokens, return_tensors="pt"
        )
        return batch.to(self.model.device)


def difference(outputs: Any) -> torch.Tensor:
    """Log-odds [n] of a batch's outputs: for two classes a softmax is a logistic function of their difference."""
    logits: torch.Tensor = outputs.logits
    return logits[:, 1].double() - logits[:, 0].double()


def find_encoder(reference: str | Path) -> Path:
    """The folder of an encoder: a path, or `package:NAME[/PATH]` for one that an installed package carries.

    Raises:
        InputError: there is no such folder, or the package has several.
        MissingDependencyError: the package is not installed.
    """
    if not str(reference).startswith(_PACKAGE):
        folder = Path(reference).expanduser()
        if not _is_model(folder):
            raise InputError(
                f"{str(reference)!r} is no folder of a model: give one with config.json, or {_PACKAGE}NAME"
            )
        return folder
    name, _, inner = str(reference).removeprefix(_PACKAGE).partition("/")
    module = name.replace("-", "_")
    spec = importlib.util.find_spec(module) if module.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(f"the package {name!r} is not installed here: install it, or give a folder")
    roots = [Path(place).resolve() / inner for place in spec.submodule_search_locations]
    folders = sorted(path.parent for root in roots for path in root.rglob("config.json") if _is_model(path.parent))
    if len(folders) != 1:
        raise InputError(f"the package {name!r} carries {len(folders)} models at {inner or '.'!r}: name one of them")
    return folders[0]


def _is_model(folder: Path) -> bool:
    try:
        return "model_type" in json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def _loaded(folder: Path, **changes: Any) -> tuple[Any, Any]:
    """Model and tokenizer; quietly, for a last layer that is new is no reason to warn."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32, **changes
        )
        _last_layer(model)
    except Exception as error:  # whatever the many architectures raise on a broken folder
        raise UnsupportedModelError(f"{folder} can't be loaded as a classifier ({str(error)[:200]})") from error
    finally:
        transformers_logging.set_verbosity(verbosity)
    return model, tokenizer


def _last_layer(model: Any) -> torch.nn.Linear:
    """The layer with the two outputs."""
    layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear) and layer.out_features == 2]
    if not layers or layers[-1].bias is None:
        raise UnsupportedModelError(
            f"{type(model).__name__} has no last layer with two outputs and a bias: use another"
        )
    return layers[-1]


def _fitting(model: Any, tokenizer: Any, max_tokens: int) -> int:
    """No more tokens than the encoder has positions for."""
    limits = [getattr(model.config, "max_position_embeddings", _MOST_TOKENS), tokenizer.model_max_length]
    if not 8 <= max_tokens <= min(limits):
        raise InputError(f"max_tokens={max_tokens!r} must be 8 to {min(limits)}, which the encoder can read")
    return max_tokens
