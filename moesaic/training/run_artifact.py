"""The artifact that a run ends with: its last checkpoint as a served model, with canary, licence and lineage.

- `write_start` keeps in the run's folder what the artifact needs of the model that training began with, so that a run
  can be resumed and finished after its base has gone.
- Weights are taken from the checkpoint one tensor at a time: a run whose model was sharded over processes is written by
  one process that never holds it whole.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig

import moesaic
from moesaic.artifact import MANIFEST_NAME, ArchitectureFacts, ArtifactWriter, Licence, Lineage, ModelArtifact
from moesaic.errors import ArtifactError, DamagedRunError
from moesaic.model import conversion
from moesaic.model.canary import canary_sequences, make_canary
from moesaic.model.checkpoint import count_parameters, disk_tensors
from moesaic.model.config import GPTMoEConfig
from moesaic.model.quantized import parse_scheme
from moesaic.model.shards import ShardWriter
from moesaic.model.tokenizer_files import write_tokenizer_files
from moesaic.training.checkpoint import Checkpoint
from moesaic.training.data.durable import made_folder, storage_errors, written_json
from moesaic.training.model_source import Origin, StartingModel
from moesaic.training.run_options import OutputConfig
from moesaic.training.tuning.low_rank import MergedWeights
from moesaic.training.tuning.tuned_part import TunedPart, TuningOptions

__all__ = ["write_artifact", "write_start"]

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many of its steps are done, and how many there are."""

_LICENCE = "LICENSE-base.txt"
_ORIGIN = "origin.json"
_HEAD = "lm_head.weight"


def write_start(folder: Path, start: StartingModel) -> None:
    """Keep configuration, tokenizer, licence and origin of the model that training begins with."""
    with storage_errors(folder):
        shutil.rmtree(folder, ignore_errors=True)
    made_folder(folder)
    config = start.model.config.to_dict()
    config.pop("quantization_config", None)
    written_json(folder / "config.json", config)
    generation = start.model.generation_config.to_diff_dict() if start.model.generation_config is not None else {}
    known = {name: generation[name] for name in ("temperature", "top_p", "top_k") if name in generation}
    write_tokenizer_files(start.tokenizer, folder, config=config, generation=known, where=start.origin.base)
    if start.origin.licence_text is not None:
        (folder / _LICENCE).write_text(start.origin.licence_text, encoding="utf-8")
    origin = start.origin._asdict() | {"ancestors": [item.to_json() for item in start.origin.ancestors]}
    written_json(folder / _ORIGIN, origin)


def write_artifact(
    start: Path,
    checkpoint: Checkpoint,
    output: OutputConfig,
    *,
    operation: str,
    tuning: TuningOptions,
    recipe: Mapping[str, Any],
    metrics: Mapping[str, float],
    progress: Progress,
) -> list[ModelArtifact]:
    """Write the artifact that a recipe asks for, and a rounded one beside it if it asks for that too.

    Args:
        start: what `write_start` wrote.
        checkpoint: the weights.
        output: where, and in which precision.
        operation: what the lineage calls this, such as `pretrain`.
        tuning: what was trained; low-rank updates are merged.
        recipe: every value of the recipe, for the lineage.
        metrics: figures of the final evaluation.
        progress: told of what is done.

    Raises:
        InputError: the target is taken, and may not be overwritten.
        StorageError: the disk is full or may not be written.
    """
    assert output.folder is not None
    artifact = _kept(output.folder, operation, recipe, metrics)
    if artifact is None:
        artifact = _written(
            start,
            checkpoint,
            output,
            operation=operation,
            tuning=tuning,
            recipe=recipe,
            metrics=metrics,
            progress=progress,
        )
    if output.quantize is None:
        return [artifact]
    target = output.folder.with_name(f"{output.folder.name}-{output.quantize}")
    if target.is_dir() and not output.overwrite:
        rounded = ModelArtifact.open(target)
        if rounded.manifest.lineage.parent == artifact.digest:
            return [artifact, rounded]
    scheme = parse_scheme(output.quantize)
    rounded = conversion.quantize(output.folder, target, scheme, overwrite=output.overwrite, progress=progress)
    return [artifact, rounded]


def _kept(
    folder: Path, operation: str, recipe: Mapping[str, Any], metrics: Mapping[str, float]
) -> ModelArtifact | None:
    """The artifact that this very run has written already, if its last call ended right after that."""
    if not (folder / MANIFEST_NAME).is_file():
        return None
    artifact = ModelArtifact.open(folder)
    made, lineage = artifact.manifest, artifact.manifest.lineage
    same = (lineage.operation, dict(lineage.options), dict(made.metrics)) == (operation, dict(recipe), dict(metrics))
    return artifact if same else None


def _written(
    start: Path,
    checkpoint: Checkpoint,
    output: OutputConfig,
    *,
    operation: str,
    tuning: TuningOptions,
    recipe: Mapping[str, Any],
    metrics: Mapping[str, float],
    progress: Progress,
) -> ModelArtifact:
    assert output.folder is not None
    config = AutoConfig.from_pretrained(start)
    origin = _origin(start)
    with ArtifactWriter(output.folder, overwrite=output.overwrite) as writer:
        weights: Mapping[str, torch.Tensor] = _Lazy(checkpoint)
        if tuning.part == TunedPart.LOW_RANK:
            weights = MergedWeights(weights, tuning.lora)
        total = _write_weights(writer.folder, weights, config, output.dtype, progress)
        _write_config(writer.folder, config, output.dtype)
        for path in start.iterdir():
            if path.name not in ("config.json", _ORIGIN):
                shutil.copyfile(path, writer.folder / path.name)
        progress("canary", 0, 1)
        tokenizer = AutoTokenizer.from_pretrained(writer.folder)
        canary = make_canary(writer.folder, canary_sequences(tokenizer, config.vocab_size), dtype=output.dtype)
        progress("canary", 1, 1)
        return writer.commit(
            name=output.folder.name,
            architecture=_facts(config, total, output.dtype),
            lineage=_lineage(operation, origin, recipe),
            licence=Licence(name=origin.licence, file=_LICENCE if (start / _LICENCE).is_file() else None),
            metrics=dict(metrics),
            canary=canary,
        )


def _write_weights(
    folder: Path, weights: Mapping[str, torch.Tensor], config: PreTrainedConfig, dtype: str, progress: Progress
) -> int:
    """Write all tensors and return how many numbers there are."""
    count, total = 0, len(weights)
    with ShardWriter(folder) as writer:
        for done, (name, tensor) in enumerate(_disk_tensors(weights, config), start=1):
            exact = ".mlp.gate." in name and isinstance(config, GPTMoEConfig)
            writer.write(name, tensor if exact else tensor.to(getattr(torch, dtype)))
            count += tensor.numel()
            progress("write weights", min(done, total), total)
    return count


def _disk_tensors(weights: Mapping[str, torch.Tensor], config: PreTrainedConfig) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(config, GPTMoEConfig):
        yield from disk_tensors(weights, config)
    else:
        yield from ((name, weights[name]) for name in weights if not (config.tie_word_embeddings and name == _HEAD))


class _Lazy(Mapping[str, torch.Tensor]):
    """The weights of a checkpoint, read when they are asked for."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._names = checkpoint.names("weights")
        self._last: tuple[str, torch.Tensor] | None = None

    def __getitem__(self, name: str) -> torch.Tensor:
        # Asked for once per expert, one after another: each tensor is read once.
        if self._last is None or self._last[0] != name:
            self._last = (name, self._checkpoint.tensor("weights", name))
        return self._last[1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _write_config(folder: Path, config: PreTrainedConfig, dtype: str) -> None:
    content = config.to_dict() | {"dtype": dtype}
    (folder / "config.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _origin(start: Path) -> Origin:
    try:
        content = json.loads((start / _ORIGIN).read_text(encoding="utf-8"))
        ancestors = tuple(Lineage.from_json(item) for item in content.pop("ancestors"))
        return Origin(**content, ancestors=ancestors)
    except (OSError, ValueError, TypeError, KeyError, ArtifactError) as error:
        raise DamagedRunError(
            f"{start / _ORIGIN} cannot be read ({error}): restore it, or begin the run anew"
        ) from error


def _lineage(operation: str, origin: Origin, recipe: Mapping[str, Any]) -> Lineage:
    return Lineage(
        operation=operation,
        base=origin.base,
        parent=origin.parent,
        options=dict(recipe),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        moesaic_version=moesaic.__version__,
        ancestors=origin.ancestors,
    )


def _facts(config: PreTrainedConfig, numbers: int, dtype: str) -> ArchitectureFacts:
    total = active = numbers
    experts = (0,) * config.num_hidden_layers
    if isinstance(config, GPTMoEConfig):
        total, active = count_parameters(config)
        experts = tuple(config.expert_counts)
    return ArchitectureFacts(
        model_type=config.model_type,
        architecture=config.architectures[0],
        parameters_total=total,
        parameters_active=active,
        num_hidden_layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        vocab_size=config.vocab_size,
        context_length=config.max_position_embeddings,
        experts_per_layer=experts,
        dtype=dtype,
    )
