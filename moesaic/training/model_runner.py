"""A model as a run computes with it: under its precision, and wrapped for as many processes as there are.

- Autocast leaves the routers and branch coefficients in fp32, by their own word (`moesaic.model.router`).
- DDP and FSDP2 exchange gradients in the last micro-batch of a step only.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

from moesaic.training.expert_parallel import check_expert_parallel, parallel_experts
from moesaic.training.initial_weights import give_memory, is_described
from moesaic.training.processes import Processes
from moesaic.training.run_options import DistributedConfig, PrecisionConfig

__all__ = ["ModelRunner"]


class ModelRunner:
    """Runs a model's forward pass; made once. A model on the meta device is given memory for this process's part.

    Args:
        model: a causal language model of transformers with fp32 weights; it is changed in place.
        processes: who takes part.
        precision: autocast and activation checkpointing.
        distributed: how several processes share the model.

    Raises:
        RecipeError: the experts cannot be divided over the processes.
    """

    def __init__(
        self, model: Any, processes: Processes, precision: PrecisionConfig, distributed: DistributedConfig
    ) -> None:
        device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
        self.device = device
        self.processes = processes
        self._autocast = precision.autocast == "bfloat16"
        check_expert_parallel(model, distributed.expert_parallel, processes.size)
        if precision.activation_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self._sharded = processes.size > 1 and distributed.strategy == "fsdp"
        mesh = init_device_mesh(device.type, (processes.size,)) if processes.size > 1 else None
        experts = parallel_experts(model, mesh) if mesh is not None and distributed.expert_parallel > 1 else []
        offloads = self._sharded and distributed.cpu_offload and device.type != "cpu"
        if self._sharded:
            _shard(model, mesh, experts, offload=offloads)
        if is_described(model):
            give_memory(model, torch.device("cpu") if offloads else device, buffers_on=device)
        elif not self._sharded:
            model.to(device)
        self.model = model
        self._wrapped: Any = model if self._sharded or mesh is None else _replicated(model, experts)

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


def _shard(model: Any, mesh: Any, experts: Sequence[str], *, offload: bool) -> None:
    """FSDP2: one group per decoder layer, the rest at the root; experts that are divided already stay as they are."""
    policy = CPUOffloadPolicy() if offload else OffloadPolicy()
    left = {model.get_parameter(name) for name in experts}
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh, offload_policy=policy, ignored_params=left)
    fully_shard(model, mesh=mesh, offload_policy=policy, ignored_params=left)


def _replicated(model: Any, experts: Sequence[str]) -> Any:
    """DDP over all parameters but the experts that are divided; the model itself if it trains nothing else.

    Buffers (the balancing biases) follow from all-reduced loads, and are equal everywhere already.
    """
    if not any(parameter.requires_grad for name, parameter in model.named_parameters() if name not in experts):
        return model
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, experts)
    return DistributedDataParallel(model, broadcast_buffers=False)
