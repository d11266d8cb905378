"""Dense base models to build on, wherever they are: `open_base` finds one, `DenseBase` is what it gives.

A reference is one of

    ./folder                 config.json with safetensors: a stock Hugging Face model or a dense Moesaic artifact
    ./file.gguf              a model in llama.cpp's format
    package:NAME[/PATH]      either of them, carried by an installed Python package
    owner/name               a model on the Hugging Face hub

- A local path wins over a hub id of the same spelling.
- The package is found without being imported: a package that carries weights needn't run code here.
"""

import importlib.util
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from moesaic.errors import InputError, MissingDependencyError
from moesaic.model.dense_folder import DenseFolder, is_model_folder
from moesaic.model.gguf_file import GGUFBase
from moesaic.model.hub import fetch_base, is_hub_id
from moesaic.model.licence import BaseLicence
from moesaic.model.shards import TensorSource

__all__ = ["DenseBase", "open_base"]

_PACKAGE = "package:"


class DenseBase(TensorSource, Protocol):
    """A dense decoder (Llama, Mistral, Qwen2 or Qwen3), read one tensor at a time. Use it in a `with` block.

    `names` are Hugging Face names in the order of the forward pass; a tied head is absent.
    """

    reference: str
    """How the caller named it."""

    config: dict[str, Any]
    """Content of its `config.json`, checked and complete: model_type, sizes, rope_parameters and the rest."""

    @property
    def licence(self) -> BaseLicence:
        """Name and text of its licence, each None where the base doesn't tell."""
        ...

    def write_tokenizer(self, folder: Path) -> None:
        """Write tokenizer.json, tokenizer_config.json (with the chat template) and generation_config.json.

        Raises `TokenizerError` if the tokenizer is missing, broken, or larger than the embedding.
        """
        ...

    def __enter__(self) -> Self:
        """The base itself."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its files."""
        ...


def open_base(reference: str, *, revision: str | None = None) -> DenseBase:
    """Find and open a dense base model; see the head of this module for the forms of `reference`.

    `revision` is a branch, tag or commit and applies to hub ids alone.

    Raises:
        InputError: there is nothing at this reference, or the hub can't be reached.
        MissingDependencyError: the package isn't installed.
        UnsupportedModelError: a model that can't be mapped.
        TokenizerError: the tokenizer has more tokens than the embedding rows.
        DamagedArtifactError: a file is truncated or unreadable.
    """
    if reference.startswith(_PACKAGE):
        path = _find_in_package(reference)
    else:
        path = Path(reference).expanduser()
        if not path.exists() and not reference.endswith(".gguf") and is_hub_id(reference):
            return DenseFolder(fetch_base(reference, revision), reference)
    if revision is not None:
        raise InputError(f"revision={revision!r} only applies to hub ids, and {reference!r} isn't one: leave it out")
    if path.is_file() and path.suffix == ".gguf":
        return GGUFBase(path, reference)
    if reference and path.is_dir():  # the path of an empty string is the current folder
        return DenseFolder(path, reference)
    raise InputError(
        f"{reference!r} is no base model{'' if reference and path.exists() else ': there is no such file or folder'}. "
        f"Give a folder with config.json and safetensors, a .gguf file, {_PACKAGE}NAME or a hub id owner/name"
    )


def _find_in_package(reference: str) -> Path:
    """The one model that an installed package carries, or the one of several that the reference points at."""
    name, _, inner = reference.removeprefix(_PACKAGE).partition("/")
    module = name.replace("-", "_")
    spec = importlib.util.find_spec(module) if module.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(
            f"the package {name!r} of {reference!r} is not installed here: install it (pip install {name or 'NAME'}), "
            "or give a folder, a .gguf file or a hub id"
        )
    roots = [Path(place).resolve() for place in spec.submodule_search_locations]
    if inner:
        chosen = [path for root in roots if (path := (root / inner).resolve()).is_relative_to(root) and path.exists()]
        if chosen:
            return chosen[0]
        raise InputError(f"the package {name!r} has no {inner!r}: leave the path out to find its model")
    models = sorted(path for root in roots for path in root.rglob("*.gguf"))
    models += sorted(
        path.parent for root in roots for path in root.rglob("config.json") if is_model_folder(path.parent)
    )
    if len(models) == 1:
        return models[0]
    found = [str(model.relative_to(root)) for root in roots for model in models if model.is_relative_to(root)]
    raise InputError(
        f"the package {name!r} carries {len(models)} models ({', '.join(found) or 'no .gguf file, no model folder'}): "
        f"give one that carries a model, or name one of several as {_PACKAGE}{name}/PATH"
    )
