"""What a sentence-transformers folder says about itself, read and checked without torch.

    modules.json                        what follows what: a transformer, a pooling, maybe a normalisation
    sentence_bert_config.json           max_seq_length
    1_Pooling/config.json               which pooling
    config_sentence_transformers.json   prompts, if any

What changes the vectors and is not understood here is refused: a vector that is almost right is worse than none.
"""

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from moesaic.errors import UnsupportedModelError

__all__ = ["EncoderFolder", "Pooling"]

_QUERY_PROMPTS = ("query", "search_query", "question")
_DOCUMENT_PROMPTS = ("document", "passage", "search_document", "corpus")
_IDENTITY_SUFFIXES = {".json", ".safetensors", ".bin", ".txt", ".model"}


class Pooling(StrEnum):
    """How the vectors of a text's tokens become one."""

    MEAN = "mean"
    """Their mean."""
    CLS = "cls"
    """That of the first token."""
    MAX = "max"
    """The largest of each number."""


@dataclass(frozen=True, kw_only=True)
class EncoderFolder:
    """A folder that this package can compute."""

    transformer: Path
    """Folder of the transformer's configuration, weights and tokenizer."""
    pooling: Pooling
    max_length: int | None
    """Tokens that are read of a text; None if the folder doesn't say."""
    lower_case: bool
    query_prompt: str
    document_prompt: str
    digest: str
    """sha256 over every file that bears on the vectors."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read and check a folder.

        Raises:
            UnsupportedModelError: it is no sentence-transformers folder, or has a part that is not understood.
        """
        modules = _read_json(folder / "modules.json", list)
        kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
        if kinds[:2] != ["Transformer", "Pooling"] or kinds[2:] not in ([], ["Normalize"]):
            raise UnsupportedModelError(
                f"{folder} is a chain of {', '.join(kinds) or 'nothing'}: understood is Transformer, Pooling and maybe "
                "Normalize; use another encoder"
            )

        transformer = folder / str(modules[0].get("path", ""))
        settings = _read_json(transformer / "sentence_bert_config.json", dict, optional=True)
        prompts = _read_json(folder / "config_sentence_transformers.json", dict, optional=True).get("prompts") or {}
        return cls(
            transformer=transformer,
            pooling=_pooling(folder / str(modules[1].get("path", "")) / "config.json"),
            max_length=_max_length(transformer, settings),
            lower_case=bool(settings.get("do_lower_case")),
            query_prompt=next((prompts[name] for name in _QUERY_PROMPTS if prompts.get(name)), ""),
            document_prompt=next((prompts[name] for name in _DOCUMENT_PROMPTS if prompts.get(name)), ""),
            digest=_digest(folder),
        )


def _pooling(path: Path) -> Pooling:
    config = _read_json(path, dict)
    modes = {name.removeprefix("pooling_mode_") for name, value in config.items() if value is True and "mode_" in name}
    if "pooling_mode" in config:
        modes = {str(config["pooling_mode"])}
    known = {"mean_tokens": Pooling.MEAN, "cls_token": Pooling.CLS, "max_tokens": Pooling.MAX}
    known |= {pooling.value: pooling for pooling in Pooling}
    if len(modes) != 1 or not modes <= set(known):
        raise UnsupportedModelError(
            f"{path} asks for the pooling {sorted(modes)}: understood is one of mean, cls and max; use another encoder"
        )

    if config.get("include_prompt") is False:
        raise UnsupportedModelError(f"{path} leaves prompts out of the pooling, which is not understood")

    return known[modes.pop()]


def _max_length(transformer: Path, settings: dict[str, Any]) -> int | None:
    """The folder's own limit, within that of the transformer's positions where that is told."""
    config = _read_json(transformer / "config.json", dict)
    limit = settings.get("max_seq_length")
    positions = config.get("max_position_embeddings")
    if positions and config.get("model_type") in ("roberta", "xlm-roberta", "camembert"):
        positions -= config.get("pad_token_id", 1) + 1  # their positions begin behind that of the padding
    limits = [int(value) for value in (limit, positions) if value]
    return min(limits) if limits else None


def _digest(folder: Path) -> str:
    sha256 = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in _IDENTITY_SUFFIXES):
        with path.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        sha256.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return sha256.hexdigest()


def _read_json(path: Path, kind: type[Any], *, optional: bool = False) -> Any:
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        if optional:
            return kind()
        raise UnsupportedModelError(
            f"{path} is missing: give a sentence-transformers folder, which has modules.json and what it names"
        ) from None
    except (OSError, ValueError) as error:
        raise UnsupportedModelError(f"{path} cannot be read ({error}): fetch the encoder again") from error

    if not isinstance(value, kind):
        raise UnsupportedModelError(f"{path} must be a JSON {kind.__name__}, got {type(value).__name__}")

    return value
