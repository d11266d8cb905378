"""What this machine can do at most: bytes read from memory, and bf16 and int8 matrix products, per second.

Measured in a process of its own with the environment and the threads of the engine (`python -m
benchmarks.machine_limits THREADS` prints JSON). Each limit is the best of a few seconds: it was possible at least once.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

from moesaic.server.engine.hardware import Machine, read_bandwidth
from moesaic.server.engine.runtime import engine_environment
from moesaic.server.engine.vllm_settings import VllmSettings

if TYPE_CHECKING:
    import torch

__all__ = ["MachineLimits", "best_limits", "measure_limits"]

_SIZES = (1024, 2048)
_DURATION_S = 1.0  # for each kind and size


@dataclass(frozen=True, kw_only=True)
class MachineLimits:
    """Limits of all threads together. An operation is one multiplication or one addition."""

    threads: int
    read_bytes_per_s: float
    bf16_operations_per_s: float
    int8_operations_per_s: float


def measure_limits(machine: Machine) -> MachineLimits:
    """Measure in a new process, with the threads of the engine at their places."""
    environment = os.environ | engine_environment(machine, VllmSettings())
    command = [sys.executable, "-m", "benchmarks.machine_limits", str(machine.threads)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return MachineLimits(**json.loads(done.stdout))


def best_limits(measured: Iterable[MachineLimits]) -> MachineLimits:
    """The highest of each limit: other work on the machine can only have lowered the others."""
    rows = [asdict(limits) for limits in measured]
    return MachineLimits(**{name: max(row[name] for row in rows) for name in rows[0]})


def _main() -> None:
    import torch

    # Not counted here: a preloaded OpenMP library has bound this thread to its core already.
    threads = int(sys.argv[1])
    torch.set_num_threads(threads)

    bf16 = int8 = 0.0
    for size in _SIZES:
        a, b = (torch.randint(-127, 128, (size, size), dtype=torch.int8) for _ in range(2))
        left, right = a.bfloat16(), b.bfloat16()
        # Both layouts of the second factor: which one is faster differs from library to library.
        bf16 = max(bf16, *(_best(partial(torch.matmul, left, factor), size) for factor in (right, right.T)))
        int8 = max(int8, *(_best(partial(torch._int_mm, a, factor), size) for factor in (b, b.T)))
    limits = MachineLimits(
        threads=threads,
        read_bytes_per_s=read_bandwidth(threads, duration_s=2 * _DURATION_S),
        bf16_operations_per_s=bf16,
        int8_operations_per_s=int8,
    )
    print(json.dumps(asdict(limits)))


def _best(product: "Callable[[], torch.Tensor]", size: int) -> float:
    """Highest rate of repeated products of square matrices, after one that does not count."""
    product()
    best, end = float("inf"), time.perf_counter() + _DURATION_S / 2
    while time.perf_counter() < end:
        start = time.perf_counter()
        product()
        best = min(best, time.perf_counter() - start)
    return 2.0 * size**3 / best


if __name__ == "__main__":
    _main()
