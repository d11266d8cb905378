"""The weights that training begins with, put into a model that may be sharded: drawn or read, one tensor at a time.

A model is described on the meta device, wrapped for its processes, given memory, and then filled:

    give_memory(model, device)      # for this process's part alone
    draw_weights(model)             # or fill_weights(model, tensors)

- Beside its part a process holds the module that is drawn, or the tensor that is read; of a mixture on disk it reads
  its own experts only.
- Every process draws all numbers of a new model and keeps its own, so that a seed means the same weights for any
  number of processes.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from moesaic.errors import DamagedArtifactError
from moesaic.model.checkpoint import NaturalPlace, natural_places
from moesaic.training.weight_state import own_part, weight_tensors

__all__ = [
    "StoredTensors",
    "described_model",
    "draw_weights",
    "fill_additions",
    "fill_weights",
    "give_memory",
    "hollow_model",
    "is_described",
]

_ADDED = ".parametrizations."
_UPDATED = re.compile(r"parametrizations\.(\w+)\.original$")

StoredTensors = Iterable[tuple[str, Callable[[], torch.Tensor]]]
"""Names on disk, and how each tensor is read or made."""


def described_model(config: PreTrainedConfig) -> PreTrainedModel:
    """A model of fp32 weights without memory, on the meta device."""
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    # Some configurations don't say it; the artifact must.
    model.config.architectures = [type(model).__name__]
    return model


def hollow_model(config: PreTrainedConfig) -> PreTrainedModel:
    """A model on the CPU whose weights are one zero each, repeated by strides of zero.

    What is put upon it, such as low-rank updates, is drawn in memory; `fill_additions` takes it over.
    """
    model = described_model(config)
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(torch.zeros(()).expand(parameter.shape)))
    model.tie_weights()
    return model


def is_described(model: nn.Module) -> bool:
    """Whether a model is without memory."""
    return any(parameter.is_meta for parameter in model.parameters())


def give_memory(model: Any, device: torch.device, *, buffers_on: torch.device | None = None) -> None:
    """Give a described model memory for what this process holds of it, in place; weights are not set yet.

    Buffers that no checkpoint stores (the frequencies of the positions) are computed.
    """
    model.to_empty(device=device)
    model.tie_weights()
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.to(buffers_on or device))
    saved = weight_tensors(model)
    _draw(model.config, {name: buffer for name, buffer in model.named_buffers() if name not in saved})


def draw_weights(model: Any) -> None:
    """Random weights as the model's classes draw them, from torch's generator; all processes seed it alike."""
    _draw(model.config, weight_tensors(model))


@torch.no_grad()
def fill_weights(model: Any, tensors: StoredTensors) -> None:
    """Fill a model with tensors of the layout on disk.

    Raises:
        DamagedArtifactError: a tensor is missing, superfluous or misshapen.
    """
    # A weight that is updated keeps its place on disk.
    targets = {_UPDATED.sub(r"\1", name): tensor for name, tensor in weight_tensors(model).items()}
    targets = {name: tensor for name, tensor in targets.items() if _ADDED not in name}
    missing = set(targets)
    for name, read in tensors:
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        places = natural_places(name, model.config)
        if foreign := [place.name for place in places if place.name not in targets]:
            raise DamagedArtifactError(f"the model has no {foreign[0]}, which {name} would be: fetch the weights again")
        missing -= {place.name for place in places}
        if any(_is_held(targets[place.name], place) for place in places):
            tensor = read()
            for place in places:
                _put(targets[place.name], tensor[place.stored], place)
    if missing:
        raise DamagedArtifactError(
            f"{len(missing)} tensors are missing, first {min(missing)!r}: fetch or make the weights again"
        )


@torch.no_grad()
def fill_additions(model: Any, hollow: nn.Module) -> None:
    """Take over what was put upon the weights of a hollow model, for a model that was changed in the same way."""
    targets = weight_tensors(model)
    for name, parameter in hollow.named_parameters():
        if _ADDED in name and not _UPDATED.search(name):
            _put(targets[name], parameter, NaturalPlace(name))


@torch.no_grad()
def _draw(config: PreTrainedConfig, wanted: Mapping[str, torch.Tensor]) -> None:
    """Set tensors as their modules initialise themselves, one module after another, in the order of the model."""
    twin: Any = described_model(config)
    for path, module in twin.named_modules():
        own = dict(module.named_parameters(recurse=False)) | dict(module.named_buffers(recurse=False))
        names = {f"{path}.{name}" if path else name: name for name in own}
        if not names.keys() & wanted.keys():
            continue
        module.to_empty(device="cpu", recurse=False)
        for name in own:
            getattr(module, name).fill_(torch.nan)
        twin._init_weights(module)
        for full, name in names.items():
            if full in wanted:
                drawn = getattr(module, name)
                assert not drawn.isnan().any(), f"{full} is not initialised by the model's class"
                _put(wanted[full], drawn, NaturalPlace(full))
        module.to_empty(device="meta", recurse=False)


def _is_held(target: torch.Tensor, place: NaturalPlace) -> bool:
    """Whether this process holds any of the rows that go to a place."""
    local, start = own_part(target)
    return len(local) > 0 and (place.expert is None or start <= place.expert < start + len(local))


def _put(target: torch.Tensor, value: torch.Tensor, place: NaturalPlace) -> None:
    """Copy what this process holds."""
    local, start = own_part(target)
    inner = torch.empty(target.shape[1:], device="meta")
    expected = target.shape if place.expert is None else inner[place.rows].shape
    if value.shape != expected:
        raise DamagedArtifactError(
            f"{place.name} is given {tuple(value.shape)} where it has {tuple(expected)}: fetch the weights again"
        )
    if place.expert is None:
        local.copy_(value[start : start + len(local)])
    elif _is_held(target, place):
        local[place.expert - start, place.rows].copy_(value)
