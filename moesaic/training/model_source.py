"""The `[model]` table of a recipe, and the model that training begins with: new, upcycled, or one that is continued.

Whatever the source, the weights are fp32: they are the master weights of the run.
"""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from transformers import AutoConfig, GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast

from moesaic.artifact import MANIFEST_NAME, Lineage, ModelArtifact
from moesaic.errors import ConfigError, InputError, RecipeError
from moesaic.model.base import DenseBase, open_base
from moesaic.model.causal_lm import GPTMoEForCausalLM
from moesaic.model.checkpoint import check_tensors, open_weights
from moesaic.model.config import GPTMoEConfig
from moesaic.model.licence import find_licence_text
from moesaic.model.tokenizer_files import check_vocabulary, load_tokenizer
from moesaic.model.upcycling import UpcycleOptions, upcycled_config, upcycled_tensors
from moesaic.training.initial_weights import described_model, draw_weights, fill_weights, give_memory
from moesaic.training.presets import preset_fields

__all__ = [
    "ModelConfig",
    "Origin",
    "StartingModel",
    "described_start",
    "empty_model",
    "scratch_config",
    "starting_model",
]

_LOOKED_UP = 64
"""Rows of the embedding are rounded up to a multiple of this."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The `[model]` table of a recipe."""

    start: Literal["scratch", "upcycle", "continue"] = "scratch"
    """`scratch`: random weights. `upcycle`: a GPT-MoE made of a dense checkpoint. `continue`: an artifact, a GPT-MoE
    folder, or a dense checkpoint as it is."""
    preset: str | None = None
    """Sizes of a model from scratch (`moesaic.training.presets`)."""
    config: dict[str, Any] = field(default_factory=dict)
    """Fields of `GPTMoEConfig` for a model from scratch, over those of the preset."""
    base: str | None = None
    """Reference of the checkpoint for `upcycle` and `continue`: a folder, a .gguf file, package:NAME, owner/name."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""
    tokenizer: Path | None = None
    """Folder with tokenizer.json; needed from scratch, otherwise the base's own."""
    upcycle: UpcycleOptions = field(default_factory=lambda: UpcycleOptions(drop_ratio=0.5))
    """How a dense checkpoint becomes a mixture; half of each expert's channels are fresh unless the recipe says so."""
    experts_implementation: Literal["eager", "batched_mm", "grouped_mm"] = "grouped_mm"
    """How transformers computes the experts."""
    attention_implementation: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    """How transformers computes attention; all of them keep packed documents apart."""

    def __post_init__(self) -> None:
        """Refuse what contradicts the start."""
        if self.start == "scratch":
            if self.base is not None:
                raise RecipeError(f"base={self.base!r} with start='scratch': set start='upcycle' or 'continue'")
            if self.preset is None and not self.config:
                raise RecipeError("start='scratch' needs a preset, or the fields of [model.config]")
            if self.tokenizer is None:
                raise RecipeError("start='scratch' needs tokenizer: the folder with the tokenizer to train with")
            if self.preset is not None:
                preset_fields(self.preset)
        else:
            if self.base is None:
                raise RecipeError(f"start={self.start!r} needs base: the checkpoint to begin with")
            if self.preset is not None or self.config:
                raise RecipeError(f"preset and config are for start='scratch', not {self.start!r}: the base decides")


class Origin(NamedTuple):
    """Where a model comes from, for the artifact that training makes."""

    base: str
    """Reference of the dense checkpoint at the root, or `scratch`."""
    parent: str | None
    """Digest of the artifact that is continued."""
    ancestors: tuple[Lineage, ...]
    """Lineages of the artifacts that it descends from, nearest first."""
    licence: str | None
    """Identifier of the base's licence."""
    licence_text: str | None
    """Its text."""


class StartingModel(NamedTuple):
    """A model with fp32 weights, its tokenizer, and where it comes from."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    origin: Origin
    fill: Callable[[Any], None]
    """Puts the weights into the model, or into one that was wrapped for several processes, once it has memory."""


def described_start(config: ModelConfig) -> StartingModel:
    """The model that training begins with, on the meta device: nothing of it is in memory yet.

    Raises:
        RecipeError: fields that no GPT-MoE has, or that contradict each other.
        InputError: there is nothing at the reference, and what else `open_base` and `ModelArtifact` raise.
        TokenizerError: the tokenizer is missing or has more tokens than the embedding.
    """
    if config.start == "scratch":
        start = _scratch(config)
    elif config.start == "upcycle":
        start = _upcycled(config)
    else:
        start = _continued(config)
    tokens = max(start.tokenizer.get_vocab().values(), default=-1)
    check_vocabulary(tokens, start.model.config.vocab_size, str(config.tokenizer or config.base))
    _implement(start.model, config)
    return start


def starting_model(config: ModelConfig) -> StartingModel:
    """That model with its weights, whole, on the CPU; errors as of `described_start`, and damaged weights."""
    start = described_start(config)
    give_memory(start.model, torch.device("cpu"))
    start.fill(start.model)
    return start


def empty_model(folder: Path, config: ModelConfig) -> PreTrainedModel:
    """A model of the configuration in `folder`, on the meta device: a checkpoint is about to fill it."""
    model = described_model(AutoConfig.from_pretrained(folder))
    _implement(model, config)
    return model


def _implement(model: PreTrainedModel, config: ModelConfig) -> None:
    model.set_attn_implementation(config.attention_implementation)
    if isinstance(model, GPTMoEForCausalLM):
        model.set_experts_implementation(config.experts_implementation)


def scratch_config(config: ModelConfig, tokenizer: PreTrainedTokenizerFast | None) -> GPTMoEConfig:
    """Configuration of a new model; without a vocabulary of its own it takes the tokenizer's."""
    fields = (preset_fields(config.preset) if config.preset else {}) | config.config
    known = set(GPTMoEConfig().to_dict()) - {"model_type", "transformers_version", "architectures"}
    if unknown := sorted(set(config.config) - known):
        raise RecipeError(f"model.config.{unknown[0]} is no field of a GPT-MoE: known are {', '.join(sorted(known))}")
    if tokenizer is not None:
        if "vocab_size" not in config.config:
            tokens = max(tokenizer.get_vocab().values()) + 1
            fields["vocab_size"] = -(-tokens // _LOOKED_UP) * _LOOKED_UP
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            fields.setdefault(name, getattr(tokenizer, name))
    fields |= {"architectures": ["GPTMoEForCausalLM"], "dtype": "float32"}
    try:
        return GPTMoEConfig(**fields)
    except ConfigError as error:
        raise RecipeError(f"[model.config] {error}") from error
    except (TypeError, ValueError) as error:
        raise RecipeError(f"[model.config] is refused: {error}") from error


def _scratch(config: ModelConfig) -> StartingModel:
    assert config.tokenizer is not None
    tokenizer = load_tokenizer(config.tokenizer)
    model = described_model(scratch_config(config, tokenizer))
    return StartingModel(model, tokenizer, Origin("scratch", None, (), None, None), draw_weights)


def _upcycled(config: ModelConfig) -> StartingModel:
    assert config.base is not None
    with open_base(config.base, revision=config.revision) as base:
        target = upcycled_config(base.config | {"dtype": "float32"}, config.upcycle)
        tokenizer, origin = _tokenizer(config, base), _origin(config.base, base)

    def fill(model: Any) -> None:
        assert config.base is not None
        with open_base(config.base, revision=config.revision) as base:
            made = upcycled_tensors(base, target, config.upcycle, torch.float32)
            fill_weights(model, ((name, partial(torch.Tensor.detach, tensor)) for name, tensor in made))

    return StartingModel(described_model(target), tokenizer, origin, fill)


def _continued(config: ModelConfig) -> StartingModel:
    assert config.base is not None
    folder = Path(config.base).expanduser()
    if (folder / MANIFEST_NAME).is_file():
        artifact = ModelArtifact.open(folder)
        artifact.verify()
        lineage = artifact.manifest.lineage
        licence = artifact.manifest.licence
        text = find_licence_text(folder) if licence.file else None
        return _stored(folder, config, Origin(lineage.base, artifact.digest, (lineage,), licence.name, text))
    if _is_mixture(folder):
        return _stored(folder, config, Origin(config.base, None, (), None, find_licence_text(folder)))
    with open_base(config.base, revision=config.revision) as base:
        kind = AutoConfig.for_model(**(base.config | {"dtype": "float32"}))
        tokenizer, origin = _tokenizer(config, base), _origin(config.base, base)

    def fill(model: Any) -> None:
        assert config.base is not None
        with open_base(config.base, revision=config.revision) as base:
            fill_weights(model, ((name, partial(base.read, name)) for name in base.names))

    return StartingModel(described_model(kind), tokenizer, origin, fill)


def _stored(folder: Path, config: ModelConfig, origin: Origin) -> StartingModel:
    """A model in Moesaic's layout, GPT-MoE or dense; a quantized one is continued with what its weights stand for."""
    kind = AutoConfig.from_pretrained(folder)
    source = open_weights(folder, kind.to_dict(), torch.float32)
    if isinstance(kind, GPTMoEConfig):
        check_tensors(source, kind, str(folder))
    if hasattr(kind, "quantization_config"):
        del kind.quantization_config
    model = described_model(kind)
    if (folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder)

    def fill(model: Any) -> None:
        fill_weights(model, ((name, partial(source.read, name)) for name in source.names))

    return StartingModel(model, load_tokenizer(config.tokenizer or folder), origin, fill)


def _is_mixture(folder: Path) -> bool:
    path = folder / "config.json"
    if not path.is_file():
        return False
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")).get("model_type") == GPTMoEConfig.model_type)
    except (ValueError, AttributeError) as error:
        raise InputError(f"{path} is not JSON ({error}): give a complete model folder") from error


def _origin(reference: str, base: DenseBase) -> Origin:
    name, text = base.licence
    return Origin(reference, None, (), name, text)


def _tokenizer(config: ModelConfig, base: DenseBase) -> PreTrainedTokenizerFast:
    """The recipe's tokenizer, or the base's own by way of the files that it would write."""
    if config.tokenizer is not None:
        return load_tokenizer(config.tokenizer)
    with tempfile.TemporaryDirectory(prefix="moesaic-tokenizer-") as folder:
        base.write_tokenizer(Path(folder))
        return load_tokenizer(Path(folder))
