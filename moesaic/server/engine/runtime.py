"""The environment in which vLLM's computing processes run fast on a CPU: threads, their places, and the OpenMP library.

Left to itself, vLLM binds one thread fewer than there are cores, since its scheduler and its worker are two processes
that wait for each other by spinning. Moesaic runs both in one process, where vLLM binds nothing at all, so the threads
are counted and placed here.

1. One thread per physical core of one memory node; a machine with many cores keeps one free for the serving process.
2. Where a control group grants less CPU time than there are cores, threads are counted by that and not bound, because
   other containers use the same cores.
3. What the user has set stays as it is: a preloaded OpenMP library, numbers of threads, places. A list of cores in
   vLLM's own VLLM_CPU_OMP_THREADS_BIND is obeyed in the single process too, where vLLM would ignore it.
"""

import importlib.metadata
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from moesaic.errors import InputError
from moesaic.server.engine.hardware import Machine, parse_cpu_list

__all__ = ["RuntimeSettings", "engine_environment", "openmp_library"]

_SPARE_CORE_FROM = 8
_BIND = "VLLM_CPU_OMP_THREADS_BIND"
# Waiting threads sleep after 5 ms without work, and until then spin without slowing the core down: vLLM's own choice.
_INTEL_WAITING = {"KMP_BLOCKTIME": "5", "KMP_TPAUSE": "0"}
_PLACING = ("GOMP_CPU_AFFINITY", "KMP_AFFINITY", "OMP_PLACES", "OMP_PROC_BIND")


class RuntimeSettings(Protocol):
    """The part of an engine's settings that matters here."""

    @property
    def tensor_parallel(self) -> int:
        """Processes that share each matrix."""
        ...


def engine_environment(
    machine: Machine, settings: RuntimeSettings, environment: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Variables to add to the environment of the processes that compute; nothing is changed here.

    Args:
        machine: the machine that computes; where its vLLM is for GPUs, nothing needs to be set.
        settings: the settings of the engine.
        environment: what is set already.

    Raises:
        InputError: VLLM_CPU_OMP_THREADS_BIND is set to something that is neither auto, nobind nor lists of cores.
    """
    if machine.vllm_target != "cpu":
        return {}

    library = openmp_library()
    preloaded = environment.get("LD_PRELOAD", "")
    added: dict[str, str] = {}
    if library is not None and "omp" not in preloaded:
        added["LD_PRELOAD"] = f"{preloaded}:{library}" if preloaded else str(library)
    intel = "iomp" in added.get("LD_PRELOAD", preloaded)
    if settings.tensor_parallel == 1:
        return added | _single_process(machine, environment, intel=intel)

    if _BIND not in environment:
        added[_BIND] = _ranks(machine, settings.tensor_parallel)
    return added


def openmp_library() -> Path | None:
    """The OpenMP runtime to preload: Intel's, or else the one that torch brings; None if neither is installed.

    Without it vLLM's kernels and torch's use two runtimes, each with threads of its own on the same cores.
    """
    for package, name in (("intel-openmp", "libiomp5.so"), ("torch", "libgomp")):
        try:
            files = importlib.metadata.files(package) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        paths = (Path(os.path.abspath(file.locate())) for file in files if file.name.startswith(name))
        if found := next((path for path in paths if path.is_file()), None):
            return found

    return None


def _single_process(machine: Machine, environment: Mapping[str, str], *, intel: bool) -> dict[str, str]:
    cpus = _cpus(machine, environment.get(_BIND, "auto"))
    added = {"OMP_NUM_THREADS": str(len(cpus) or machine.threads)}
    if cpus and not any(name in environment for name in _PLACING):
        if intel:
            added["KMP_AFFINITY"] = f"granularity=fine,explicit,proclist=[{','.join(map(str, cpus))}]"
        else:
            added["GOMP_CPU_AFFINITY"] = " ".join(map(str, cpus))
    if intel:
        added |= _INTEL_WAITING
    return {name: value for name, value in added.items() if name not in environment}


def _cpus(machine: Machine, bind: str) -> tuple[int, ...]:
    """The CPUs to place threads on, one each; none to leave them where the system puts them."""
    if bind == "nobind":
        return ()

    if bind != "auto":
        try:
            return parse_cpu_list(bind.split("|")[0])
        except ValueError as error:
            raise InputError(
                f"{_BIND}={bind!r} must be auto, nobind or lists of cores such as 0-3 or 0-3|4-7"
            ) from error

    cpus = machine.numa_cpus[0]
    if machine.threads < len(cpus):  # held below the cores by a quota
        return ()

    return cpus[:-1] if len(cpus) >= _SPARE_CORE_FROM else cpus


def _ranks(machine: Machine, processes: int) -> str:
    """Give the lists of cores of several processes, as vLLM wants them."""
    nodes = machine.numa_cpus
    if machine.threads < len(machine.physical_cpus):
        return "nobind"

    if len(nodes) >= processes:
        return "|".join(",".join(map(str, node)) for node in nodes[:processes])

    share = max(1, len(machine.physical_cpus) // processes)
    parts = (machine.physical_cpus[rank * share : (rank + 1) * share] for rank in range(processes))
    return "|".join(",".join(map(str, part or machine.physical_cpus[-1:])) for part in parts)
