"""A model as a run computes with it: under its precision, and wrapped for as many processes as there are.

- Autocast leaves the routers and branch coefficients in fp32, by their own word (`moesaic.model.router`).
- DDP and FSDP2 exchange gradients in the last micro-batch of a step only.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

from moesaic.training.processes import Processes
from moesaic.training.run_options import DistributedConfig, PrecisionConfig

__all__ = ["ModelRunner"]


class ModelRunner:
    """Runs a model's forward pass; made once, after the weights are in place.

    Args:
        model: a causal language model of transformers with fp32 weights; it is changed in place.
        processes: who takes part.
        precision: autocast and activation checkpointing.
        distributed: how several processes share the model.
    """

    def __init__(
        self, model: Any, processes: Processes, precision: PrecisionConfig, distributed: DistributedConfig
    ) -> None:
        device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
        self.device = device
        self.processes = processes
        self._autocast = precision.autocast == "bfloat16"
        if precision.activation_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self._sharded = processes.size > 1 and distributed.strategy == "fsdp"
        if self._sharded:
            _shard(model, device, processes.size, offload=distributed.cpu_offload)
        else:
            model.to(device)
        self.model = model
        replicated = processes.size > 1 and not self._sharded
        # Buffers (the balancing biases) follow from all-reduced loads, and are equal everywhere already.
        self._wrapped: Any = DistributedDataParallel(model, broadcast_buffers=False) if replicated else model

    def forward(self, **inputs: Any) -> Any:
        """The forward pass; tensors may be on the CPU. No cache is kept, so that restarting positions separate rows."""
        moved = {name: value.to(self.device) for name, value in inputs.items()}
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self._autocast):
            return self._wrapped(**moved, use_cache=False)

    @contextmanager
    def accumulating(self, last: bool) -> Iterator[None]:
        """Gradients are exchanged if this is the last micro-batch of a step."""
        if self._sharded:
            self.model.set_requires_gradient_sync(last)
            yield
        elif isinstance(self._wrapped, DistributedDataParallel) and not last:
            with self._wrapped.no_sync():
                yield
        else:
            yield


def _shard(model: Any, device: torch.device, size: int, *, offload: bool) -> None:
    """FSDP2: one group per decoder layer, the rest at the root."""
    mesh = init_device_mesh(device.type, (size,))
    policy = CPUOffloadPolicy() if offload and device.type != "cpu" else OffloadPolicy()
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh, offload_policy=policy)
    fully_shard(model, mesh=mesh, offload_policy=policy)
