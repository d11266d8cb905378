"""Low-rank updates as one file, which is there whole or not at all.

`adapter.safetensors` holds `NAME.lora_A` and `NAME.lora_B` for every updated weight, fp32; its header says how they
were made and which weights they belong to. An adapter is refused by any other weights: it would work, badly.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from transformers import PreTrainedModel

from moesaic.errors import DamagedRunError, RecipeError
from moesaic.training.data.durable import written_file
from moesaic.training.tuning.low_rank import LowRankOptions, add_low_rank, low_rank_updates, merge_low_rank
from moesaic.training.tuning.parameter_kinds import TrainedParameters

__all__ = ["load_adapter", "save_adapter"]

_KEY = "moesaic_adapter"
_VERSION = 1


def save_adapter(model: PreTrainedModel, options: LowRankOptions, path: Path) -> None:
    """Write the updates of a model that `add_low_rank` made with these options.

    Raises:
        RecipeError: the model has no updates.
        StorageError: the disk refuses.
    """
    tensors = _tensors(model)
    if not tensors:
        raise RecipeError("the model has no low-rank updates to save; tune it with them first")
    facts = {"version": _VERSION, "options": asdict(options), "base": _base_digest(model)}
    content = save(
        {name: value.detach().cpu().contiguous() for name, value in tensors.items()}, metadata={_KEY: json.dumps(facts)}
    )
    with written_file(path) as file:
        file.write(content)


def load_adapter(model: PreTrainedModel, path: Path) -> TrainedParameters:
    """Put the updates of a file on a model that has none.

    Raises:
        DamagedRunError: the file is missing, truncated or no adapter.
        RecipeError: it belongs to other weights, or the model has updates already.
    """
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})[_KEY])
            saved = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        if facts["version"] != _VERSION:
            raise DamagedRunError(
                f"{path} is an adapter of version {facts['version']}, known is {_VERSION}: update Moesaic"
            )
        options = LowRankOptions(**facts["options"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DamagedRunError(f"{path} is no adapter, or damaged ({str(error)[:120]}): save it again") from error
    trained = add_low_rank(model, options)
    try:
        _fill(model, saved, facts["base"], path)
    except RecipeError:
        merge_low_rank(model)  # B is zero still: the weights stay as they were
        raise
    return trained


def _fill(model: PreTrainedModel, saved: dict[str, torch.Tensor], base: object, path: Path) -> None:
    tensors = _tensors(model)
    if {name: value.shape for name, value in tensors.items()} != {name: value.shape for name, value in saved.items()}:
        raise RecipeError(f"{path} belongs to a model of another shape: give the weights that it was trained on")
    if base != _base_digest(model):
        raise RecipeError(f"{path} belongs to other weights than these: give those that it was trained on")
    with torch.no_grad():
        for name, value in tensors.items():
            value.copy_(saved[name])


def _tensors(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for name, _, _, update in low_rank_updates(model):
        found |= {f"{name}.lora_A": update.lora_A, f"{name}.lora_B": update.lora_B}
    return found


def _base_digest(model: PreTrainedModel) -> str:
    """Of the frozen weights below the updates, as fp32: equal for a model in bf16 and the same one widened."""
    digest = hashlib.sha256()
    for name, module, own_name, _ in low_rank_updates(model):
        parametrizations: Any = module.parametrizations
        weight = parametrizations[own_name].original.detach()
        digest.update(f"{name} {tuple(weight.shape)}\n".encode())
        digest.update(weight.float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
