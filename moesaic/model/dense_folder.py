"""A dense base model in a folder: config.json beside safetensors files, as transformers (or Moesaic) saves it.

- Tensors are read one at a time, in the type that they are stored in.
- The tensors on disk must be exactly those that the configuration asks for. Two kinds are tolerated because they carry
  nothing: stored rotary frequencies, and a second copy of a tied head.
- Pickled weights (`*.bin`) aren't read: loading them runs code.
"""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from transformers import PreTrainedTokenizerFast

from moesaic.artifact import MANIFEST_NAME, ModelArtifact
from moesaic.errors import DamagedArtifactError, InputError, UnsupportedModelError
from moesaic.model.dense_config import dense_config, dense_shapes
from moesaic.model.licence import BaseLicence, find_licence_text, read_card_licence, spdx_name
from moesaic.model.shards import ShardReader, TensorSpec
from moesaic.model.tokenizer_files import check_vocabulary, load_tokenizer, write_tokenizer_files

__all__ = ["DenseFolder", "is_model_folder"]

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_HEAD, _EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"
_DERIVED = ".rotary_emb.inv_freq"


def is_model_folder(folder: Path) -> bool:
    """Whether a folder has a configuration and safetensors weights."""
    return (folder / "config.json").is_file() and any((folder / name).is_file() for name in _WEIGHTS)


class DenseFolder:
    """A `DenseBase` over a model folder; a context manager, though it holds nothing open between reads.

    Raises `UnsupportedModelError` for a model that can't be mapped, `TokenizerError` if the tokens outnumber the
    embedding, `DamagedArtifactError` for damaged files, `InputError` for a folder that isn't a model.
    """

    def __init__(self, folder: Path, reference: str) -> None:
        self.reference = reference
        self._folder = folder
        _check_files(folder, reference)
        self._licence = _licence(folder)
        self.config = dense_config(_read_json(folder / "config.json", reference), reference)
        self._reader = ShardReader(folder)
        _check_tied_head(self._reader, self.config, reference)
        self._shapes = dense_shapes(self.config)
        _check_tensors(self._reader, self._shapes, self.config["tie_word_embeddings"], reference)
        # What the weights are stored in counts, not what config.json says that they were.
        self.config["dtype"] = str(self._reader.spec(_EMBEDDING).dtype).removeprefix("torch.")
        _check_tokenizer_file(folder, self.config["vocab_size"], reference)

    @property
    def names(self) -> list[str]:
        """Names of all tensors, in the order of the forward pass; a tied head is absent."""
        return list(self._shapes)

    @property
    def licence(self) -> BaseLicence:
        """What the model card or the artifact's manifest says, and the text of the licence file in the folder."""
        return self._licence

    def spec(self, name: str) -> TensorSpec:
        """Type and shape of a tensor as stored."""
        return self._reader.spec(self._known(name))

    def read(self, name: str) -> torch.Tensor:
        """Read one tensor as stored."""
        return self._reader.read(self._known(name))

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The fast tokenizer of the folder."""
        return load_tokenizer(self._folder)

    def write_tokenizer(self, folder: Path) -> None:
        """Write tokenizer and generation_config.json into an existing folder."""
        settings = self._folder / "generation_config.json"
        generation = _read_json(settings, self.reference) if settings.is_file() else None
        write_tokenizer_files(self.tokenizer(), folder, config=self.config, generation=generation, where=self.reference)

    def _known(self, name: str) -> str:
        if name not in self._shapes:
            raise InputError(f"{self.reference} has no tensor {name!r}: it has {len(self._shapes)} tensors, see names")
        return name

    def __enter__(self) -> Self:
        """The base itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is open between two reads; the `with` block is for bases that hold a file."""


def _check_files(folder: Path, reference: str) -> None:
    """Raise `InputError` unless the folder has what a model needs."""
    if is_model_folder(folder):
        return
    if not (folder / "config.json").is_file():
        raise InputError(f"{reference} has no config.json: give the folder that holds it and model.safetensors")
    pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
    instead = f" but {pickled[0]}, and loading that would run code: convert it to safetensors" if pickled else ""
    raise InputError(f"{reference} has no {_WEIGHTS[0]} or {_WEIGHTS[1]}{instead or ': give a complete model folder'}")


def _licence(folder: Path) -> BaseLicence:
    """Licence of a Moesaic artifact (whose files are checked on the way) or of a stock folder."""
    if (folder / MANIFEST_NAME).is_file():
        artifact = ModelArtifact.open(folder)
        return BaseLicence(spdx_name(artifact.manifest.licence.name), find_licence_text(folder))
    return BaseLicence(read_card_licence(folder), find_licence_text(folder))


def _check_tied_head(reader: ShardReader, config: dict[str, Any], reference: str) -> None:
    """A head that is said to be the embedding but stored beside it must be equal to it."""
    if not config["tie_word_embeddings"] or not {_HEAD, _EMBEDDING} <= set(reader.names):
        return
    if reader.spec(_HEAD) != reader.spec(_EMBEDDING) or not torch.equal(reader.read(_HEAD), reader.read(_EMBEDDING)):
        raise UnsupportedModelError(
            f"{reference} says tie_word_embeddings=true, yet {_HEAD} differs from {_EMBEDDING}: if {_HEAD} was "
            "trained, set tie_word_embeddings to false in config.json, otherwise remove that tensor"
        )


def _check_tensors(reader: ShardReader, shapes: dict[str, tuple[int, ...]], tied: bool, reference: str) -> None:
    """Neither a tensor too few nor one too many, all of the right shape and a float type."""
    present = {name for name in reader.names if not name.endswith(_DERIVED) and not (tied and name == _HEAD)}
    if missing := [name for name in shapes if name not in present]:
        raise UnsupportedModelError(
            f"{reference} lacks {len(missing)} of {len(shapes)} tensors, first {missing[0]!r}: "
            "its weights don't belong to its config.json; fetch the model again"
        )
    if extra := sorted(present - shapes.keys()):
        raise UnsupportedModelError(
            f"{reference} has {len(extra)} tensors that its architecture doesn't know, first {extra[0]!r}: "
            "leaving them out would change the model; save it without them (adapters merged, plain weights)"
        )
    for name, shape in shapes.items():
        spec = reader.spec(name)
        if tuple(spec.shape) != shape or spec.dtype not in (torch.float32, torch.float16, torch.bfloat16):
            raise UnsupportedModelError(
                f"{reference}: {name} is {spec.dtype} {tuple(spec.shape)}, must be {shape} in float32, float16 or "
                "bfloat16: give the model in plain float weights that fit its config.json"
            )


def _check_tokenizer_file(folder: Path, rows: int, reference: str) -> None:
    """Find a foreign tokenizer.json before any weight is read; other tokenizer files show when they are converted."""
    if not (folder / "tokenizer.json").is_file():
        return
    content = _read_json(folder / "tokenizer.json", reference)
    vocabulary = content.get("model", {}).get("vocab", {})
    ids = list(vocabulary.values()) if isinstance(vocabulary, dict) else [len(vocabulary) - 1]
    ids += [token["id"] for token in content.get("added_tokens", [])]
    check_vocabulary(max(ids, default=-1), rows, reference)


def _read_json(path: Path, reference: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DamagedArtifactError(f"{reference}: {path.name} can't be read ({error}): fetch it again") from error
    if not isinstance(content, dict):
        raise DamagedArtifactError(f"{reference}: {path.name} is not a JSON object: fetch it again")
    return content
