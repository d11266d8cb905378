"""Extend the vocabulary of a whole model: tokenizer, embedding, head, and the artifact around them.

Shapes: V rows of the embedding, D model.
"""

import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from json import dumps, loads
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedTokenizerFast

import moesaic
from moesaic.artifact import MANIFEST_NAME, ArchitectureFacts, ArtifactWriter, Lineage, ModelArtifact
from moesaic.errors import SchemeError
from moesaic.model.canary import canary_sequences, make_canary
from moesaic.model.conversion import Progress, pack
from moesaic.model.shards import ShardReader, ShardWriter
from moesaic.model.tokenizer_files import load_tokenizer, write_tokenizer_files
from moesaic.training.tokenizer.extension_config import ExtensionConfig
from moesaic.training.tokenizer.vocabulary_extension import ExtensionReport, NewToken, extend_tokenizer

__all__ = ["ExtendedModel", "extend_model", "grown_rows"]

_EMBEDDING, _HEAD = "model.embed_tokens.weight", "lm_head.weight"
_REWRITTEN = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")


class ExtendedModel(NamedTuple):
    """A model with more tokens."""

    artifact: ModelArtifact
    report: ExtensionReport
    rows_before: int
    rows_after: int


def grown_rows(rows_VD: torch.Tensor, new_tokens: Sequence[NewToken], rows: int) -> torch.Tensor:
    """An embedding (or head) of `rows` rows: the old ones, and for a new token the mean of its parts.

    Rows that belong to no token get the mean of all old rows, so that their logits are never outstanding. The means
    are taken in fp32.
    """
    grown_VD = rows_VD.float().mean(dim=0).repeat(rows, 1).to(rows_VD.dtype)
    grown_VD[: len(rows_VD)] = rows_VD
    for new in new_tokens:
        grown_VD[new.id] = rows_VD[list(new.parts)].float().mean(dim=0).to(rows_VD.dtype)
    return grown_VD


def extend_model(
    reference: str,
    target: Path,
    texts: Iterable[str],
    config: ExtensionConfig | None = None,
    *,
    overwrite: bool = False,
    progress: Progress = lambda stage, done, total: None,
) -> ExtendedModel:
    """Make an artifact of a model with a vocabulary extended by pieces of `texts`; everything else is unchanged.

    `reference` is an artifact (a GPT-MoE or a dense one), or anything that `moesaic.model.base.open_base` opens. New
    tokens take rows that the embedding has to spare before it grows. The model computes for old tokens what it did
    before, but for their share of probability that goes to new tokens until it is trained.

    Raises:
        SchemeError: the artifact is quantized.
        TokenizerError, CorpusError: see `extend_tokenizer`.
        InputError: there is no such model, or `target` exists.
    """
    config = config or ExtensionConfig()
    with (
        ArtifactWriter(target, overwrite=overwrite) as writer,
        tempfile.TemporaryDirectory(prefix=".moesaic-extend-", dir=writer.target.parent) as scratch,
    ):
        if (Path(reference) / MANIFEST_NAME).is_file():
            parent = ModelArtifact.open(reference)
        else:
            parent = pack(reference, Path(scratch) / "base", progress=progress)
        if parent.manifest.quantization is not None:
            raise SchemeError(
                f"{reference} is quantized ({parent.manifest.quantization.scheme!r}): extend its full-precision parent"
            )
        progress("mine pieces", 0, 1)
        extension = extend_tokenizer(load_tokenizer(parent.folder), texts, config)
        progress("mine pieces", 1, 1)
        before = parent.config()["vocab_size"]
        needed = max(before, extension.new_tokens[-1].id + 1)
        rows = -(-needed // config.row_multiple) * config.row_multiple
        settings = parent.config() | {"vocab_size": rows}
        tables = _write_weights(parent, writer.folder, extension.new_tokens, rows, progress)
        _write_files(parent, writer.folder, extension.tokenizer, settings)
        progress("canary", 0, 1)
        canary = make_canary(writer.folder, canary_sequences(extension.tokenizer, rows), dtype=settings["dtype"])
        progress("canary", 1, 1)
        artifact = writer.commit(
            name=target.name,
            architecture=_facts(parent, rows, tables),
            lineage=_lineage(parent, config, extension.report),
            licence=parent.manifest.licence,
            canary=canary,
        )
    return ExtendedModel(artifact, extension.report, before, rows)


def _write_weights(
    parent: ModelArtifact, folder: Path, new_tokens: Sequence[NewToken], rows: int, progress: Progress
) -> int:
    """Copy all tensors, the embedding and an untied head with their new rows; returns how many of these there are."""
    tables = 0
    with ShardReader(parent.folder) as reader, ShardWriter(folder) as shards:
        for done, name in enumerate(reader.names, start=1):
            tensor = reader.read(name)
            if name in (_EMBEDDING, _HEAD):
                tensor = grown_rows(tensor, new_tokens, rows)
                tables += 1
            shards.write(name, tensor)
            progress("write weights", done, len(reader.names))
    return tables


def _write_files(
    parent: ModelArtifact, folder: Path, tokenizer: PreTrainedTokenizerFast, settings: Mapping[str, Any]
) -> None:
    """Configuration and tokenizer, and the parent's other files as they are (licence, cards)."""
    for record in parent.manifest.files:
        if record.name not in _REWRITTEN and not record.name.endswith((".safetensors", ".safetensors.index.json")):
            copied = folder / record.name
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(parent.path(record.name), copied)
    text = dumps(settings, indent=2, ensure_ascii=False) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")
    stored = parent.folder / "generation_config.json"
    generation = loads(stored.read_text(encoding="utf-8")) if stored.is_file() else None
    write_tokenizer_files(tokenizer, folder, config=settings, generation=generation, where=str(parent.folder))


def _facts(parent: ModelArtifact, rows: int, tables: int) -> ArchitectureFacts:
    """The parent's facts with more rows in `tables` tables."""
    facts = parent.manifest.architecture
    more = (rows - facts.vocab_size) * facts.hidden_size * tables
    return replace(
        facts,
        vocab_size=rows,
        parameters_total=facts.parameters_total + more,
        parameters_active=facts.parameters_active + more,
    )


def _lineage(parent: ModelArtifact, config: ExtensionConfig, report: ExtensionReport) -> Lineage:
    former = parent.manifest.lineage
    return Lineage(
        operation="extend-vocabulary",
        base=former.base,
        parent=parent.digest,
        options=asdict(config) | {"added": report.tokens_after - report.tokens_before},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        moesaic_version=moesaic.__version__,
        ancestors=(former,),
    )
