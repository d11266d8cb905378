"""The processes of a run: one, or those that torchrun started; sums over them, and what only the first one does.

With one process every function here is free of communication, so that the same training step runs in both cases.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from moesaic.errors import RecipeError

__all__ = ["Processes", "joined_processes"]

_TIMEOUT = timedelta(minutes=30)


class Processes:
    """The processes of a run, as one of them sees them."""

    def __init__(self, *, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        """This process's number, from 0."""
        self.size = size
        """How many there are."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes what is written once: metrics, plots, the recipe, the artifact."""
        return self.rank == 0

    def summed(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum over all processes of a tensor without gradient, in fp64 if it is a float."""
        total = tensor.detach().double() if tensor.is_floating_point() else tensor.detach().clone()
        if self.size > 1:
            # NCCL sums what is on its device only.
            placed = total.cuda() if dist.get_backend() == "nccl" else total
            dist.all_reduce(placed)
            total = placed.to(total.device)
        return total

    def gathered(self, value: Any) -> list[Any]:
        """One picklable value of every process, in order, in every process."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def from_first(self, value: Any) -> Any:
        """The first process's value, in every process."""
        values = [value]
        if self.size > 1:
            dist.broadcast_object_list(values, src=0)
        return values[0]

    def wait(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def joined_processes() -> Iterator[Processes]:
    """The processes that torchrun started, joined for the block; a single one without torchrun.

    Raises:
        RecipeError: the environment has only some of torchrun's variables, or there are fewer GPUs than processes.
    """
    given = [name for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT") if name in os.environ]
    if "WORLD_SIZE" not in os.environ or os.environ["WORLD_SIZE"] == "1":
        yield Processes()
        return
    if len(given) < 4:
        raise RecipeError(f"of torchrun's variables only {', '.join(given)} are set: start the run with torchrun")
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    if backend == "nccl":
        torch.cuda.set_device(_own_gpu(int(os.environ.get("LOCAL_RANK", "0"))))
    dist.init_process_group(backend, timeout=_TIMEOUT)
    try:
        yield Processes(rank=dist.get_rank(), size=dist.get_world_size())
    finally:
        dist.destroy_process_group()


def _own_gpu(place: int) -> int:
    """The GPU of the process that is `place`-th on this machine: each has one to itself, or NCCL waits for ever."""
    count = torch.cuda.device_count()
    if place >= count:
        raise RecipeError(
            f"process {place} of this machine has no GPU of its own, there are {count}: start torchrun with "
            f"--nproc-per-node={count}, or set CUDA_VISIBLE_DEVICES='' to train on the CPU"
        )
    return place
