"""Weights and moments of a run as named tensors, and back, one tensor at a time; shards stay shards.

A tied head is the embedding and is stored once. Buffers that the model saves (the balancing biases) are part of the
weights.
"""

from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from moesaic.errors import DamagedRunError
from moesaic.training.checkpoint import Checkpoint
from moesaic.training.optimizers import OptimizerSet

__all__ = ["optimizer_tensors", "restore_optimizer", "restore_weights", "weight_tensors"]


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
    by_name = optimizers.named_parameters()
    state = {}
    for key in checkpoint.names("optimizer"):
        parameter = by_name.get(key.rpartition("::")[0])
        if isinstance(parameter, DTensor):
            state[key] = _stored_shard(checkpoint, key, parameter)
        else:
            stored = checkpoint.tensor("optimizer", key)
            number = stored.dim() == 0 and not stored.is_floating_point()
            state[key] = stored if parameter is None or number else stored.to(parameter.device)
    optimizers.restore(state)


def _stored_part(checkpoint: Checkpoint, group: str, name: str, like: torch.Tensor) -> torch.Tensor:
    """What this process holds of a tensor like `like`."""
    if not isinstance(like, DTensor) or all(place.is_replicate() for place in like.placements):
        return checkpoint.tensor(group, name)
    shape, offset = compute_local_shape_and_global_offset(like.shape, like.device_mesh, like.placements)
    return checkpoint.part(group, name, int(offset[0]), int(shape[0]))


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
