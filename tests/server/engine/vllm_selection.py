"""Program for a subprocess: print, as JSON, which kernels vLLM itself selects on this machine and on imitated ones.

The imitations replace what vLLM asks about the processor; its rules run unchanged. No model is loaded.
"""

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from unittest import mock

import torch
import vllm.model_executor.kernels.linear as linear
from compressed_tensors.quantization import QuantizationArgs
from vllm.model_executor.kernels.linear.mixed_precision import MPLinearLayerConfig
from vllm.model_executor.kernels.linear.scaled_mm import Int8ScaledMMLinearLayerConfig
from vllm.model_executor.layers.fused_moe.activation import MoEActivation
from vllm.model_executor.layers.fused_moe.config import FusedMoEConfig, FusedMoEParallelConfig, RoutingMethodType
from vllm.model_executor.layers.fused_moe.oracle.int8 import select_int8_moe_backend
from vllm.model_executor.layers.fused_moe.oracle.int_wna16 import select_wna16_moe_backend
from vllm.model_executor.layers.fused_moe.oracle.unquantized import select_unquantized_moe_backend
from vllm.model_executor.layers.quantization.utils.quant_utils import kInt4Static, kInt4Static32
from vllm.platforms import CpuArchEnum, current_platform
from vllm.scalar_type import scalar_types

CASES: dict[str, tuple[int, int | None, int, bool, int, int]] = {
    # bits, group size, active experts, bf16, hidden size, intermediate size
    "bf16": (16, None, 2, True, 576, 1536),
    "bf16 narrow": (16, None, 2, True, 48, 1536),
    "bf16 uneven": (16, None, 2, True, 576, 1520),
    "fp32": (16, None, 2, False, 576, 1536),
    "fp32 narrow": (16, None, 2, False, 48, 1536),
    "int8": (8, None, 2, True, 576, 1536),
    "int8 one expert": (8, None, 1, True, 576, 1536),
    "int8 uneven": (8, None, 2, True, 576, 1520),
    "int8 fp32": (8, None, 2, False, 576, 1536),
    "int4 32": (4, 32, 2, True, 576, 1536),
    "int4 64": (4, 64, 2, True, 576, 1536),
    "int4 32 uneven": (4, 32, 2, True, 576, 1520),
    "int4 one expert": (4, 32, 1, True, 576, 1536),
    "int4 fp32": (4, 32, 2, False, 576, 1536),
    "int4 64 fp32": (4, 64, 2, False, 576, 1536),
}
"""Weights; tests/server/engine/test_kernels.py builds a manifest of each."""

MACHINES = {
    # zentorch on a Zen, AMX, architecture
    "this": (None, None, None),
    "avx512": (False, False, CpuArchEnum.X86),
    "amx": (False, True, CpuArchEnum.X86),
    "zen": (True, False, CpuArchEnum.X86),
    "arm": (False, False, CpuArchEnum.ARM),
}


def name_of(select: Callable[[], object]) -> str:
    try:
        chosen = select()
    except (NotImplementedError, ValueError):  # how vLLM says that there is no kernel
        return ""
    kernel = chosen[1] if isinstance(chosen, tuple) else chosen
    assert isinstance(kernel, type)
    return kernel.__name__


def experts(bits: int, group: int | None, active: int, bf16: bool, hidden: int, intermediate: int) -> str:
    config = FusedMoEConfig(
        num_experts=5,
        experts_per_token=active,
        hidden_dim=hidden,
        intermediate_size=intermediate,
        num_local_experts=5,
        num_logical_experts=5,
        activation=MoEActivation.SILU,
        device="cpu",
        routing_method=RoutingMethodType.Renormalize,
        moe_parallel_config=FusedMoEParallelConfig.make_no_parallel(),
        in_dtype=torch.bfloat16 if bf16 else torch.float32,
    )
    if bits == 16:
        return name_of(lambda: select_unquantized_moe_backend(config))
    if bits == 8:
        return name_of(lambda: select_int8_moe_backend(config))
    weights = QuantizationArgs(num_bits=4, group_size=group, strategy="group", symmetric=True)
    key = kInt4Static32 if group == 32 else kInt4Static
    return name_of(lambda: select_wna16_moe_backend(config, key, weights, False, False, True))


def matrices(bits: int, group: int | None, active: int, bf16: bool, hidden: int, intermediate: int) -> str:
    if bits == 16:
        return ""
    if bits == 8:
        int8 = Int8ScaledMMLinearLayerConfig(is_static_input_scheme=False, is_channelwise=True, input_symmetric=True)
        kernels = linear._POSSIBLE_INT8_KERNELS
        return name_of(lambda: linear.choose_scaled_mm_linear_kernel(int8, kernels, quantization="int8"))
    assert group is not None
    int4 = MPLinearLayerConfig(
        full_weight_shape=(hidden, intermediate),
        partition_weight_shape=(hidden, intermediate),
        weight_type=scalar_types.uint4b8,
        act_type=torch.bfloat16 if bf16 else torch.float32,
        group_size=group,
        zero_points=False,
    )
    return name_of(lambda: linear.choose_mp_linear_kernel(int4))


def imitate(machine: str) -> ExitStack:
    """Let vLLM see another processor until the stack is closed."""
    stack = ExitStack()
    if machine != "this":
        zen, amx, architecture = MACHINES[machine]
        stack.enter_context(mock.patch.object(current_platform, "is_zen_cpu", return_value=zen))
        stack.enter_context(mock.patch.object(current_platform, "get_cpu_architecture", return_value=architecture))
        stack.enter_context(mock.patch.object(torch.cpu, "_is_amx_tile_supported", return_value=amx))
    return stack


def main() -> None:
    current_platform.import_kernels()
    arm = torch.library.Library("_C", "FRAGMENT")  # kept until the end: its operators live as long as it does
    arm.define("cpu_fused_moe_int8() -> ()")  # only the build for Arm has it
    answer = {}
    for machine in MACHINES:
        with imitate(machine):
            answer[machine] = {case: [experts(*facts), matrices(*facts)] for case, facts in CASES.items()}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
