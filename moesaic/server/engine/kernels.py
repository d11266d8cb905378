"""Which of vLLM's kernels an artifact will run on this machine, or why a bf16 copy has to be served instead.

The rules repeat what vLLM 0.32 decides while it builds a model (`fused_moe/oracle`, `kernels/linear`): the engine must
know before it starts whether the weights can be used as they are, and `moesaic doctor` says so without importing vLLM.
A test holds the rules against vLLM's own selection.

On a CPU, experts in bf16 and fp32 run everywhere (hidden sizes that 32 divides, or a Zen with zentorch). Quantized ones
need hardware that not every machine has:

=======  =======================================  ====================================================
experts  x86 with AMX                             AMD Zen 4 and later, with zentorch
=======  =======================================  ====================================================
int8     sizes divisible by 32                    bf16, any sizes
int4     groups of 64 or 128, not of 32           bf16, two active experts (the residual one counts)
=======  =======================================  ====================================================

1. Where there is none, vLLM would refuse to start; Moesaic serves a bf16 copy of the same weights (`materialize`), or
   computes in plain PyTorch where even that has no kernel.
2. The activations of that copy are not quantized: it is at least as exact as the artifact, but larger.
3. vLLM selects a portable int4 kernel for dense matrices that its AVX2 build does not contain: an obstacle, here.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

from moesaic.artifact import Manifest
from moesaic.errors import InputError
from moesaic.server.engine.hardware import Machine

__all__ = ["Backend", "ExpertsPlan", "KernelPlan", "WeightFacts", "kernel_plan", "weights_plan"]

_TILE = 32  # AMX and the portable kernels compute in blocks of 32
_AMX_INT4_REFUSED_GROUP = 32


class ExpertsPlan(StrEnum):
    """What to do with the weights of an artifact."""

    NATIVE = "native"
    """Serve the files as they are."""
    MATERIALIZE = "materialize"
    """Serve a bf16 copy."""


class Backend(StrEnum):
    """What computes the model."""

    VLLM = "vllm"
    TRANSFORMERS = "transformers"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class KernelPlan:
    """How one artifact is served on one machine."""

    backend: Backend
    """What computes it; NONE if this machine cannot serve at all."""
    experts: ExpertsPlan
    """Whether the weights are served as they are. (The matrices of a quantized dense model count as experts here.)"""
    names: tuple[str, ...]
    """Kernels that are certain, by the names of vLLM's classes, experts first."""
    reasons: tuple[str, ...]
    """Why, in sentences for people."""
    advice: tuple[str, ...]
    """What to install or choose for a better plan; empty if there is nothing better."""

    def to_json(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        return {name: list(value) if isinstance(value, tuple) else str(value) for name, value in asdict(self).items()}


class _Choice(NamedTuple):
    """A kernel by name ("" where vLLM decides late), or the obstacle to having one."""

    name: str = ""
    obstacle: str | None = None


@dataclass(frozen=True, kw_only=True)
class WeightFacts:
    """What the selection of kernels depends on."""

    bits: int
    """Bits of a weight in the large matrices; 16 where they are not quantized (whatever their type)."""
    group_size: int | None = None
    """Weights that share a scale; None for one scale per output row."""
    active_experts: int = 2
    """Experts that a token visits, the residual one included; 0 in a dense model."""
    hidden_size: int = _TILE
    """Width of the residual stream."""
    intermediate_size: int = _TILE
    """Inner width of an expert or of the dense MLP, as far as one tensor-parallel process holds it."""
    bfloat16: bool = True
    """Whether activations are bf16."""

    @classmethod
    def of(
        cls, manifest: Manifest, config: Mapping[str, Any], *, dtype: str = "auto", tensor_parallel: int = 1
    ) -> "WeightFacts":
        """The facts of an artifact; see `kernel_plan` for the arguments."""
        quantization, facts = manifest.quantization, manifest.architecture
        moe = any(facts.experts_per_layer)
        intermediate = (config.get("moe_intermediate_size") if moe else None) or config.get("intermediate_size") or 0
        return cls(
            bits=16 if quantization is None else quantization.weight_bits,
            group_size=None if quantization is None else quantization.group_size,
            active_experts=0 if not moe else 2 if config.get("moe_residual", True) else 1,
            hidden_size=facts.hidden_size,
            intermediate_size=int(intermediate) // tensor_parallel,
            bfloat16=(facts.dtype if dtype == "auto" else dtype) == "bfloat16",
        )

    @property
    def uneven(self) -> str | None:
        """Which size is not divisible by the tile of AMX and of the portable kernels, in words."""
        sizes = {"hidden_size": self.hidden_size, "intermediate_size per process": self.intermediate_size}
        return next((f"{name} is {size}" for name, size in sizes.items() if size % _TILE), None)


def kernel_plan(
    manifest: Manifest,
    machine: Machine,
    *,
    config: Mapping[str, Any] | None = None,
    force: str = "auto",
    dtype: str = "auto",
    tensor_parallel: int = 1,
) -> KernelPlan:
    """Decide how `machine` serves the artifact of `manifest`.

    Args:
        manifest: manifest of the artifact.
        machine: the machine that will serve it.
        config: the artifact's `config.json`; without it, sizes are taken to suit and mixtures to be residual.
        force: "auto", or "bf16" to serve a bf16 copy of a quantized artifact even where it would run as it is.
        dtype: activations of the engine: "auto" (the artifact's own), "bfloat16", "float32", ….
        tensor_parallel: number of processes that share each matrix.

    Raises:
        InputError: `force` is neither "auto" nor "bf16".
    """
    facts = WeightFacts.of(manifest, config or {}, dtype=dtype, tensor_parallel=tensor_parallel)
    return weights_plan(facts, machine, force=force)


def weights_plan(weights: WeightFacts, machine: Machine, *, force: str = "auto") -> KernelPlan:
    """Decide how `machine` serves weights of which no more is known than `weights`; as `kernel_plan` otherwise."""
    if force not in ("auto", "bf16"):
        raise InputError(f"experts={force!r} must be auto or bf16; auto serves the files as they are if it can")

    if machine.vllm_target is None:
        return _plain_plan(weights, machine, force, cause="vLLM is not installed")

    if machine.vllm_target == "gpu" and not machine.gpus:
        return _plain_plan(weights, machine, force, cause="the installed vLLM needs a GPU and there is none")

    names, obstacle = _kernels(weights, machine)
    plain_names, plain_obstacle = _kernels(replace(weights, bits=16, group_size=None), machine)
    if plain_obstacle is not None and (obstacle is not None or force == "bf16"):
        return _plain_plan(weights, machine, force, cause=plain_obstacle)

    experts, advice = ExpertsPlan.NATIVE, _advice(weights, machine) if obstacle else ()
    if weights.bits == 16:
        reason = "the weights are not quantized, and every machine that runs vLLM has kernels for them"
    elif force == "bf16":
        experts, advice, reason = ExpertsPlan.MATERIALIZE, (), "a bf16 copy was asked for"
    elif obstacle is not None:
        experts, reason = ExpertsPlan.MATERIALIZE, f"a bf16 copy is served, because {obstacle}"
    else:
        reason = f"vLLM has int{weights.bits} kernels for this machine"
    names = plain_names if experts is ExpertsPlan.MATERIALIZE else names
    return KernelPlan(backend=Backend.VLLM, experts=experts, names=names, reasons=(reason,), advice=advice)


def _plain_plan(weights: WeightFacts, machine: Machine, force: str, *, cause: str) -> KernelPlan:
    """The plan where vLLM is of no use: PyTorch alone, which unpacks every scheme by itself."""
    missing = sorted({"torch", "transformers"} - set(machine.packages))
    outcome = f"{' and '.join(missing)} missing" if missing else "plain PyTorch serves one request at a time"
    copied = force == "bf16" and weights.bits != 16
    extra = "gpu" if machine.gpus else "cpu"
    install = f"the extra [{extra}] brings the vLLM for this machine, which serves many requests at once"
    return KernelPlan(
        backend=Backend.NONE if missing else Backend.TRANSFORMERS,
        experts=ExpertsPlan.MATERIALIZE if copied else ExpertsPlan.NATIVE,
        names=(),
        reasons=(f"{cause}; {outcome}",),
        advice=() if machine.vllm_target == extra else (install,),
    )


def _kernels(weights: WeightFacts, machine: Machine) -> tuple[tuple[str, ...], str | None]:
    """Names of the kernels for experts and matrices, and what stands in their way (None: nothing)."""
    if machine.vllm_target == "gpu":  # the GPU's generation decides among several; Triton serves what the others refuse
        return (), None

    matrices = _cpu_matrices(weights, machine)
    experts = _cpu_experts(weights, machine) if weights.active_experts else _Choice()
    names = tuple(name for name in (experts.name, matrices.name) if name)
    return names, experts.obstacle or matrices.obstacle


def _cpu_matrices(weights: WeightFacts, machine: Machine) -> _Choice:
    zen = _has_zentorch(machine)
    if weights.bits == 16:
        return _Choice()  # chosen matrix by matrix

    if weights.bits == 8:
        return _Choice("ZentorchInt8ScaledMMLinearKernel" if zen else "CPUInt8ScaledMMLinearKernel")

    if zen:
        return _Choice("ZentorchWNA16LinearKernel")

    if machine.architecture == "x86_64" and "avx512f" not in machine.instruction_sets:
        return _Choice(obstacle="int4 matrices need AVX-512, which this processor lacks")

    if weights.uneven:
        return _Choice(obstacle=f"int4 matrices need sizes divisible by {_TILE}, and {weights.uneven}")

    return _Choice("CPUWNA16LinearKernel")


def _cpu_experts(weights: WeightFacts, machine: Machine) -> _Choice:
    zen, amx = _has_zentorch(machine), "amx_tile" in machine.instruction_sets
    if weights.bits == 16:
        return _cpu_plain_experts(weights, machine, amx=amx, zen=zen)

    if weights.bits == 4:
        return _cpu_int4_experts(weights, amx=amx, zen=zen)

    if zen and not weights.bfloat16:  # vLLM selects them all the same, and their first call stops the engine
        return _Choice(
            obstacle="int8 experts of zentorch need bf16 activations, and the engine computes in another type"
        )

    if zen:
        return _Choice("ZenCPUExpertsInt8")

    if not amx and machine.architecture != "aarch64":
        return _Choice(obstacle="int8 experts need a processor with AMX, or an AMD Zen 4 or later with zentorch")

    if weights.uneven:
        return _Choice(obstacle=f"int8 experts need sizes divisible by {_TILE}, and {weights.uneven}")

    return _Choice("CPUExpertsInt8" if amx else "ArmCPUExpertsInt8")


def _cpu_plain_experts(weights: WeightFacts, machine: Machine, *, amx: bool, zen: bool) -> _Choice:
    if weights.hidden_size % _TILE and not zen:  # the intermediate size is padded
        size = weights.hidden_size
        return _Choice(obstacle=f"experts need a hidden_size divisible by {_TILE} on this machine, and it is {size}")

    if weights.hidden_size % _TILE == 0 and weights.bfloat16:
        if amx:
            return _Choice("X86CPUUnquantizedExperts")
        if machine.architecture == "aarch64":
            return _Choice("ArmCPUUnquantizedExperts")

    return _Choice("CPUUnquantizedExperts")


def _cpu_int4_experts(weights: WeightFacts, *, amx: bool, zen: bool) -> _Choice:
    allowed = os.environ.get("VLLM_CPU_INT4_W4A8", "1") != "0"  # vLLM's own switch against 8-bit activations
    if zen and allowed and weights.bfloat16 and weights.active_experts >= 2:
        return _Choice("ZentorchExpertsInt4")

    if amx and weights.group_size != _AMX_INT4_REFUSED_GROUP:
        return _Choice("CPUExpertsInt4")

    if amx:
        return _Choice(obstacle=f"int4 experts on AMX do not take groups of {weights.group_size}")

    if not zen:
        return _Choice(obstacle="int4 experts need an AMD Zen 4 or later with zentorch")

    lacks = "VLLM_CPU_INT4_W4A8 is 0" if not allowed else "the engine computes in another type"
    if allowed and weights.bfloat16:
        lacks = "this mixture without a residual MLP has one"
    return _Choice(obstacle=f"int4 experts need bf16, 8-bit activations and two active experts, and {lacks}")


def _has_zentorch(machine: Machine) -> bool:
    return machine.is_zen and "zentorch" in machine.packages


def _advice(weights: WeightFacts, machine: Machine) -> tuple[str, ...]:
    if machine.is_zen and not _has_zentorch(machine):
        return (f"zentorch brings int{weights.bits} kernels for this processor: install the extra [cpu]",)

    if weights.bits == 4 and "amx_tile" in machine.instruction_sets:
        return ("int8 experts run natively on this processor: moesaic model quantize IN OUT --scheme int8",)

    return ("the quantized artifact saves disk here, not memory; a machine with such kernels serves it as it is",)
