"""Whole artifacts made from other models: pack a dense one unchanged, upcycle it, quantize an artifact.

Every conversion streams (one tensor at a time), builds in a hidden folder that replaces nothing until it is whole, and
ends with a canary computed from the weights as they lie on disk. An interrupted conversion leaves the target as it was.
"""

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

import moesaic
from moesaic.artifact import ArchitectureFacts, ArtifactWriter, Licence, Lineage, ModelArtifact, Quantization
from moesaic.errors import InputError, SchemeError
from moesaic.model.base import DenseBase, open_base
from moesaic.model.canary import canary_sequences, make_canary
from moesaic.model.checkpoint import count_parameters
from moesaic.model.config import GPTMoEConfig
from moesaic.model.quantized import Scheme, quantization_config
from moesaic.model.quantizer import quantize_weights
from moesaic.model.shards import ShardReader, ShardWriter, TensorSource
from moesaic.model.upcycling import UpcycleOptions, upcycled_config, upcycled_tensors

__all__ = ["DTYPES", "Progress", "pack", "quantize", "upcycle"]

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
LICENCE_FILE = "LICENSE-base.txt"

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many of its steps are done, and how many there are."""


def _silent(stage: str, done: int, total: int) -> None:
    """No one watches."""


def pack(
    reference: str,
    target: Path,
    *,
    dtype: str = "bfloat16",
    revision: str | None = None,
    overwrite: bool = False,
    progress: Progress = _silent,
) -> ModelArtifact:
    """Make an artifact of a dense model, its weights unchanged but for their precision: the control of comparisons."""
    kind = _dtype(dtype)
    with open_base(reference, revision=revision) as base, ArtifactWriter(target, overwrite=overwrite) as writer:
        config = base.config | {"dtype": dtype}
        tied = bool(config.get("tie_word_embeddings"))
        names = [name for name in base.names if not (tied and name == "lm_head.weight")]
        tensors = ((name, base.read(name).to(kind)) for name in names)
        _write_weights(writer.folder, tensors, len(names), progress)
        lineage = _lineage("pack", base.reference, {"dtype": dtype})
        return _finish(writer, target.name, base, config, lineage, progress)


def upcycle(
    reference: str,
    target: Path,
    options: UpcycleOptions,
    *,
    dtype: str = "bfloat16",
    revision: str | None = None,
    overwrite: bool = False,
    progress: Progress = _silent,
) -> ModelArtifact:
    """Make a GPT-MoE artifact of a dense model (see `moesaic.model.upcycling`)."""
    kind = _dtype(dtype)
    with open_base(reference, revision=revision) as base, ArtifactWriter(target, overwrite=overwrite) as writer:
        config = upcycled_config(base.config | {"dtype": dtype}, options)
        counts = config.expert_counts
        total = len(base.names) + sum(3 * count + 2 for count in counts if count)
        _write_weights(writer.folder, upcycled_tensors(base, config, options, kind), total, progress)
        lineage = _lineage("upcycle", base.reference, asdict(options) | {"dtype": dtype})
        return _finish(writer, target.name, base, config.to_dict(), lineage, progress)


def quantize(
    source: Path,
    target: Path,
    scheme: Scheme,
    *,
    overwrite: bool = False,
    progress: Progress = _silent,
) -> ModelArtifact:
    """Round an artifact's matrices to a serving scheme (round-to-nearest; see `moesaic.model.quantizer`)."""
    parent = ModelArtifact.open(source)
    if parent.manifest.quantization is not None:
        raise SchemeError(
            f"{source} is already quantized ({parent.manifest.quantization.scheme!r}): "
            "quantize its full-precision parent"
        )
    parent.verify(lambda _, done, total: progress("check digests", done, total))
    with ShardReader(source) as reader, ArtifactWriter(target, overwrite=overwrite) as writer:
        with ShardWriter(writer.folder) as shards:
            report = quantize_weights(
                reader, shards, scheme, progress=lambda done, total: progress("quantize", done, total)
            )
        config = parent.config() | {"quantization_config": quantization_config(scheme)}
        _write_json(writer.folder / "config.json", config)
        for record in parent.manifest.files:
            if record.name != "config.json" and not record.name.endswith((".safetensors", ".safetensors.index.json")):
                shutil.copyfile(parent.path(record.name), writer.folder / record.name)
        quantization = Quantization(
            scheme=scheme.value,
            format=report.format,
            weight_bits=report.weight_bits,
            activation_bits=report.activation_bits,
            group_size=report.group_size,
            matrices=report.matrices,
            parameters=report.parameters,
        )
        sequences = parent.manifest.canary.sequences if parent.manifest.canary else _sequences(writer.folder, config)
        progress("canary", 0, 1)
        canary = make_canary(writer.folder, sequences, dtype=parent.manifest.architecture.dtype)
        progress("canary", 1, 1)
        return writer.commit(
            name=target.name,
            architecture=parent.manifest.architecture,
            lineage=_lineage("quantize", parent.manifest.lineage.base, {"scheme": scheme.value}, parent),
            licence=parent.manifest.licence,
            quantization=quantization,
            canary=canary,
        )


def _dtype(name: str) -> torch.dtype:
    if name not in DTYPES:
        raise InputError(f"dtype={name!r} is not a precision for weights: choose one of {', '.join(DTYPES)}")
    return DTYPES[name]


def _write_weights(folder: Path, tensors: Iterable[tuple[str, torch.Tensor]], total: int, progress: Progress) -> None:
    with ShardWriter(folder) as shards:
        for done, (name, tensor) in enumerate(tensors, start=1):
            shards.write(name, tensor)
            progress("write weights", min(done, total), total)
    progress("write weights", total, total)


def _finish(
    writer: ArtifactWriter, name: str, base: DenseBase, config: dict[str, Any], lineage: Lineage, progress: Progress
) -> ModelArtifact:
    """Configuration, tokenizer, licence, facts and canary of a model whose weights are written."""
    folder = writer.folder
    _write_json(folder / "config.json", config)
    base.write_tokenizer(folder)
    licence_name, licence_text = base.licence
    if licence_text is not None:
        (folder / LICENCE_FILE).write_text(licence_text, encoding="utf-8")
    progress("canary", 0, 1)
    sequences = _sequences(folder, config)
    canary = make_canary(folder, sequences, dtype=config["dtype"])
    progress("canary", 1, 1)
    with ShardReader(folder) as reader:
        facts = _facts(config, reader)
    licence = Licence(name=licence_name, file=LICENCE_FILE if licence_text is not None else None)
    return writer.commit(name=name, architecture=facts, lineage=lineage, licence=licence, canary=canary)


def _sequences(folder: Path, config: dict[str, Any]) -> tuple[tuple[int, ...], ...]:
    return canary_sequences(AutoTokenizer.from_pretrained(folder), config["vocab_size"])


def _facts(config: dict[str, Any], source: TensorSource) -> ArchitectureFacts:
    """Architecture facts of a GPT-MoE or of a dense model."""
    layers = config["num_hidden_layers"]
    if config["model_type"] == GPTMoEConfig.model_type:
        mixture = GPTMoEConfig.from_dict(config)
        total, active = count_parameters(mixture)
        experts = tuple(mixture.expert_counts)
    else:
        total = active = sum(torch.Size(source.spec(name).shape).numel() for name in source.names)
        experts = (0,) * layers
    return ArchitectureFacts(
        model_type=config["model_type"],
        architecture=config["architectures"][0],
        parameters_total=total,
        parameters_active=active,
        num_hidden_layers=layers,
        hidden_size=config["hidden_size"],
        vocab_size=config["vocab_size"],
        context_length=config["max_position_embeddings"],
        experts_per_layer=experts,
        dtype=config["dtype"],
    )


def _lineage(operation: str, base: str, options: dict[str, Any], parent: ModelArtifact | None = None) -> Lineage:
    former = parent.manifest.lineage if parent else None
    return Lineage(
        operation=operation,
        base=base,
        parent=parent.digest if parent else None,
        options=options,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        moesaic_version=moesaic.__version__,
        ancestors=(former,) if former else (),
    )


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
