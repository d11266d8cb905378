"""How much memory a run needs in each process and how much there is: a run that cannot fit is refused before it begins.

    budget = memory_budget(model, recipe tables…, processes)      # the model may be on the meta device
    budget.check(processes)
    with budget.exhaustion():                                      # an allocation that fails all the same
        train()

- Parameters, gradients and moments are counted. Activations are what autograd keeps of one micro-batch: a formula in
  the sizes of the model, whose coefficients were measured on this code (a test compares).
- Not counted: the interpreter, buffers of matrix products, what is held for a moment between two operations. So the
  budget is a lower bound, and a run is only refused that would have failed.

Shapes: D model, F width of a feed-forward layer, A all attention heads together, V vocabulary.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from moesaic.errors import TrainingError
from moesaic.training.optimizers import OptimizerConfig, ParameterRole, parameter_groups
from moesaic.training.processes import Processes
from moesaic.training.run_options import BatchConfig, DistributedConfig, PrecisionConfig

__all__ = ["MemoryBudget", "available_bytes", "memory_budget"]

_FLOAT_BYTES = 4
_EXPERTS = "experts."
_AUTOCAST_SHARE = 0.8
"""Of the activations of fp32: products are bf16, but norms, routers and the stream between layers stay as they are."""
_EIGHT_BIT_LEAST = 4096
"""Elements below which bitsandbytes keeps fp32 moments."""
_EIGHT_BIT_BYTES = 2 * (1 + _FLOAT_BYTES / 256)
"""Two moments of a byte per element, with a scale for every 256."""


@dataclass(frozen=True, kw_only=True)
class MemoryBudget:
    """Bytes that one process needs, and what would lower them."""

    parameters: int
    """Weights of which this process has memory."""
    gradients: int
    """Of trained weights; with DDP also the copies that are exchanged."""
    moments: int
    """The optimizer's state."""
    gathered: int
    """Weights and gradients of the part that FSDP gathers at a time."""
    activations: int
    """What one micro-batch keeps for its backward pass."""
    accumulates: bool
    """Whether gradients wait while the next micro-batch is computed; with one alone they come as activations go."""
    offloaded: bool
    """Whether weights, gradients and moments stay in the memory of the host, off the accelerator."""
    remedies: tuple[str, ...]
    """What may be changed, most effective first."""

    @property
    def on_device(self) -> int:
        """Bytes where the model computes."""
        passing = self.gathered + self.activations
        if self.offloaded:
            return passing
        both = self.gradients + passing if self.accumulates else max(self.gradients, passing)
        return self.parameters + self.moments + both

    @property
    def on_host(self) -> int:
        """Bytes of the host's memory, where that is another one."""
        return self.parameters + self.gradients + self.moments if self.offloaded else 0

    def figures(self) -> dict[str, int]:
        """Bytes by what they are for."""
        return {
            "parameters": self.parameters,
            "gradients": self.gradients,
            "moments": self.moments,
            "gathered": self.gathered,
            "activations": self.activations,
        }

    def check(self, processes: Processes) -> None:
        """Compare with what there is; all processes call it together, and all of them refuse if one has too little.

        Raises:
            TrainingError: the run cannot fit; the message has the figures, and what to change.
        """
        host = available_bytes() // int(os.environ.get("LOCAL_WORLD_SIZE", processes.size))
        device = torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else host
        least = [min(found) for found in zip(*processes.gathered((device, host)), strict=True)]
        for needed, free in zip((self.on_device, self.on_host), least, strict=True):
            if needed > free:
                raise TrainingError(
                    f"training needs at least {_shown(needed)} in each process ({self._listed()}), and {_shown(free)} "
                    f"are free for it: {self._advice()}"
                )

    @contextmanager
    def exhaustion(self) -> Iterator[None]:
        """Turn an allocation that fails in the block into `TrainingError`; checkpoints of the run are kept."""
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            # The allocator of the CPU has no error of its own.
            known = isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
            if not known:
                raise
            raise TrainingError(
                f"the memory is exhausted ({error}); the run was expected to need at least "
                f"{_shown(self.on_device + self.on_host)} in each process ({self._listed()}): {self._advice()}. "
                "The checkpoints of the run are kept"
            ) from error

    def _listed(self) -> str:
        return ", ".join(f"{name} {_shown(count)}" for name, count in self.figures().items() if count)

    def _advice(self) -> str:
        return "; or ".join(self.remedies)


def memory_budget(
    model: Any,
    *,
    batch: BatchConfig,
    optimizer: OptimizerConfig,
    precision: PrecisionConfig,
    distributed: DistributedConfig,
    processes: int,
) -> MemoryBudget:
    """What a run needs.

    Args:
        model: as it is trained, before it is wrapped; on any device.
        batch: the recipe's table, and so the others.
        optimizer: its kind decides what is kept.
        precision: autocast and activation checkpointing.
        distributed: what is sharded.
        processes: how many there are.
    """
    sharded = processes > 1 and distributed.strategy == "fsdp"
    held = {name: _held(name, p, processes if sharded else 1, distributed) for name, p in model.named_parameters()}
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    gradients = _FLOAT_BYTES * sum(held[name] for name in trained)
    copies = 2 if processes > 1 and not sharded else 1
    groups = parameter_groups(model).members
    moments = sum(_moment_bytes(optimizer.kind, role, held[name]) for role, part in groups.items() for name in part)
    rows = min(batch.micro_rows, -(-batch.unit_rows // processes))
    return MemoryBudget(
        parameters=_FLOAT_BYTES * sum(held.values()),
        gradients=copies * gradients,
        moments=moments,
        gathered=_FLOAT_BYTES * _largest_group(model, distributed) if sharded else 0,
        activations=rows * batch.sequence_length * _token_bytes(model.config, batch.sequence_length, precision)
        + (0 if precision.activation_checkpointing else _FLOAT_BYTES * _updated_elements(model)),
        accumulates=rows * processes < batch.unit_rows,
        offloaded=sharded and distributed.cpu_offload and torch.cuda.is_available(),
        remedies=_remedies(rows, optimizer, precision, distributed, sharded),
    )


def available_bytes(root: Path = Path("/")) -> int:
    """Memory that this process may still take: what the system has to spare, or less where a cgroup limits it.

    What a cgroup holds of files it can give back, so that counts as free.
    """
    meminfo = dict(line.split(":", 1) for line in (root / "proc/meminfo").read_text().splitlines())
    free = [1024 * int(meminfo["MemAvailable"].split()[0])]
    groups = root / "proc/self/cgroup"  # absent from a kernel without them
    for line in groups.read_text().splitlines() if groups.is_file() else ():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        # Every group above limits too; within a container the names from outside may lead nowhere.
        inner = Path(path.lstrip("/"))
        found = [_spare_bytes(base / place, *names) for place in (inner, *inner.parents)]
        free += [spare for spare in found if spare is not None]
    return max(0, min(free))


def _spare_bytes(folder: Path, limit: str, usage: str, reclaimable: str) -> int | None:
    """What a cgroup may still take; None if it has no limit, or is not to be seen."""
    try:
        text = (folder / limit).read_text().strip()
        if text == "max":
            return None
        used = int((folder / usage).read_text())
        facts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except FileNotFoundError:
        return None
    return int(text) - used + int(facts.get(reclaimable, 0))


def _held(name: str, parameter: torch.Tensor, shards: int, distributed: DistributedConfig) -> int:
    """Elements of a parameter in one process: the rows of the largest shard."""
    if _EXPERTS in name:
        shards = max(shards, distributed.expert_parallel)
    return -(-parameter.shape[0] // shards) * (parameter.numel() // max(1, parameter.shape[0]))


def _moment_bytes(kind: str, role: ParameterRole, elements: int) -> int:
    if kind == "muon" and role is ParameterRole.MATRIX:
        return _FLOAT_BYTES * elements
    if kind == "adamw8bit" and elements >= _EIGHT_BIT_LEAST:
        return int(_EIGHT_BIT_BYTES * elements)
    return 2 * _FLOAT_BYTES * elements


def _largest_group(model: Any, distributed: DistributedConfig) -> int:
    """Elements, weights and gradients, of what FSDP gathers at a time: a layer, or all that is in no layer."""

    def elements(module: Any) -> int:
        divided = distributed.expert_parallel > 1
        parts = [p for name, p in module.named_parameters() if not (divided and _EXPERTS in name)]
        return sum(part.numel() * (1 + part.requires_grad) for part in parts)

    layers = [elements(layer) for layer in model.model.layers]
    return max(*layers, elements(model) - sum(layers))


def _updated_elements(model: Any) -> int:
    """Elements of the weights with low-rank updates: their sum is another weight, kept for the backward pass."""
    return sum(p.numel() for name, p in model.named_parameters() if name.endswith(".original"))


def _token_bytes(config: Any, length: int, precision: PrecisionConfig) -> int:
    """Bytes that autograd keeps for one token, the gradient of its logits included."""
    experts = getattr(config, "expert_counts", None) or [0] * config.num_hidden_layers
    layers = [_layer_elements(config, count, length) for count in experts]
    share = _AUTOCAST_SHARE if precision.autocast == "bfloat16" else 1.0
    if precision.activation_checkpointing:
        kept = len(layers) * config.hidden_size + share * max(layers)
    else:
        kept = share * sum(layers)
    logits = config.vocab_size * (2 if precision.autocast == "bfloat16" else _FLOAT_BYTES)
    return int(_FLOAT_BYTES * kept) + logits


def _layer_elements(config: Any, experts: int, length: int) -> int:
    """Elements that a layer keeps for one token."""
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    attention = 2 * head * (config.num_attention_heads + config.num_key_value_heads)
    if config._attn_implementation == "eager":
        attention += 2 * config.num_attention_heads * length
    if not experts:
        return int(attention + 6 * config.hidden_size + 4 * config.intermediate_size)
    routed = attention + 8 * config.hidden_size + 4 * config.moe_intermediate_size + 3 * experts
    return int(routed + (config.hidden_size + 4 * config.intermediate_size if config.moe_residual else 0))


def _remedies(
    rows: int, optimizer: OptimizerConfig, precision: PrecisionConfig, distributed: DistributedConfig, sharded: bool
) -> tuple[str, ...]:
    """What a recipe has not tried yet."""
    found = []
    if rows > 1:
        found.append(f"lower batch.micro_rows below {rows} (the gradients stay the same)")
    if not precision.activation_checkpointing:
        found.append("set precision.activation_checkpointing=true")
    if optimizer.kind in ("adamw", "lamb"):
        whole = distributed.strategy == "ddp" and distributed.expert_parallel == 1
        found.append(f"set optimizer.kind='muon'{' or ' + repr('adamw8bit') if whole else ''}")
    if not sharded:
        found.append("shard over several processes (torchrun) with distributed.strategy='fsdp'")
    elif torch.cuda.is_available() and not distributed.cpu_offload:
        found.append("set distributed.cpu_offload=true")
    return (*found, "take a smaller model, or more memory")


def _shown(count: int) -> str:
    """Bytes for people."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
