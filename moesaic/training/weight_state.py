"""Weights and moments of a run as named tensors, and back, one tensor at a time; shards stay shards.

A tied head is the embedding and is stored once. Buffers that the model saves (the balancing biases) are part of the
weights.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from moesaic.errors import DamagedRunError
from moesaic.training.checkpoint import Checkpoint
from moesaic.training.optimizers import OptimizerSet

__all__ = ["optimizer_tensors", "own_part", "restore_optimizer", "restore_weights", "weight_tensors"]


def own_part(tensor: torch.Tensor) -> tuple[torch.Tensor, int]:
    """What this process holds of a tensor, and the row of the whole at which it begins; shards are of rows."""
    if not isinstance(tensor, DTensor):
        return tensor, 0
    _, offset = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
    return tensor.to_local(), int(offset[0]) if offset else 0


def weight_tensors(model: Any) -> dict[str, torch.Tensor]:
    """Parameters and saved buffers by name; no copies."""
    saved = set(model.state_dict(keep_vars=True))
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in saved}
    return {name: parameter.detach() for name, parameter in model.named_parameters()} | buffers


def optimizer_tensors(optimizers: OptimizerSet) -> dict[str, torch.Tensor]:
    """Moments by name."""
    return optimizers.state()


@torch.no_grad()
def restore_weights(model: Any, checkpoint: Checkpoint) -> None:
    """Fill a model in place; raises `DamagedRunError` unless the checkpoint has exactly its tensors."""
    held = weight_tensors(model)
    if set(checkpoint.names("weights")) != set(held):
        odd = sorted(set(checkpoint.names("weights")) ^ set(held))
        raise DamagedRunError(
            f"{checkpoint.folder} belongs to another model: {len(odd)} tensors are in one of the two only, first "
            f"{odd[0]!r}; give the recipe that the run was started with"
        )
    for name, tensor in held.items():
        stored = _stored_part(checkpoint, "weights", name, tensor)
        target = tensor.to_local() if isinstance(tensor, DTensor) else tensor
        if stored.shape != target.shape:
            raise DamagedRunError(f"{checkpoint.folder}: {name} is {tuple(stored.shape)}, not {tuple(target.shape)}")
        target.copy_(stored)


def restore_optimizer(optimizers: OptimizerSet, checkpoint: Checkpoint) -> None:
    """Fill the moments; raises `DamagedRunError` if they belong to other parameters."""
    optimizers.restore(_StoredMoments(checkpoint, optimizers.named_parameters()))


class _StoredMoments(Mapping[str, torch.Tensor]):
    """The moments of a checkpoint as this process holds them, each read when it is asked for."""

    def __init__(self, checkpoint: Checkpoint, parameters: Mapping[str, torch.Tensor]) -> None:
        self._checkpoint = checkpoint
        self._parameters = parameters
        self._names = checkpoint.names("optimizer")

    def __getitem__(self, key: str) -> torch.Tensor:
        parameter = self._parameters.get(key.rpartition("::")[0])
        if isinstance(parameter, DTensor):
            return _stored_shard(self._checkpoint, key, parameter)
        stored = self._checkpoint.tensor("optimizer", key)
        number = stored.dim() == 0 and not stored.is_floating_point()
        return stored if parameter is None or number else stored.to(parameter.device)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _stored_part(checkpoint: Checkpoint, group: str, name: str, like: torch.Tensor) -> torch.Tensor:
    """What this process holds of a tensor like `like`."""
    if not isinstance(like, DTensor) or all(place.is_replicate() for place in like.placements):
        return checkpoint.tensor(group, name)
    local, start = own_part(like)
    return checkpoint.part(group, name, start, len(local))


def _stored_shard(checkpoint: Checkpoint, key: str, parameter: DTensor) -> torch.Tensor:
    """A moment of a sharded parameter, sharded in the same way; a step count stays a number."""
    if key.endswith("::step"):
        return checkpoint.tensor("optimizer", key)
    local = _stored_part(checkpoint, "optimizer", key, parameter).to(parameter.device)
    return DTensor.from_local(
        local,
        parameter.device_mesh,
        parameter.placements,
        run_check=False,
        shape=parameter.shape,
        stride=parameter.stride(),
    )
