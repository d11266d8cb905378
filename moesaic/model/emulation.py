"""Int8 activations in plain PyTorch: what a W8A8 kernel computes, up to the order of summation.

A canary made without this would differ from the served model by the rounding of activations, and so hide real faults.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from moesaic.model.checkpoint import expert_matrix
from moesaic.model.experts import GPTMoEExperts
from moesaic.model.quantized import fake_quantize_activations

__all__ = ["emulate_int8_activations", "int8_activation_matrices", "quantized_matrices"]

_IMPLEMENTATION = "int8_activations"


def int8_activation_matrices(names: Sequence[str], quantization_config: Mapping[str, Any] | None) -> frozenset[str]:
    """Matrices (without `.weight`) whose inputs the serving kernels round to int8; `names` are those in the files."""
    if quantization_config is None:
        return frozenset()
    groups = quantization_config["config_groups"].values()
    if all(group.get("input_activations") is None for group in groups):
        return frozenset()
    return quantized_matrices(names)


def quantized_matrices(names: Sequence[str]) -> frozenset[str]:
    """All quantized matrices (without `.weight`) among the names in the files."""
    return frozenset(name.removesuffix(".weight_scale") for name in names if name.endswith(".weight_scale"))


def emulate_int8_activations(layer: nn.Module, index: int, matrices: frozenset[str]) -> int:
    """Round the inputs of decoder layer number `index` wherever its matrix is in `matrices`; return how many sites."""
    sites = 0
    for name, module in layer.named_modules():
        if isinstance(module, GPTMoEExperts):
            if expert_matrix(index, 0, "up_proj").removesuffix(".weight") in matrices:
                module.config = _with_implementation(module.config)
                sites += 2 * module.num_experts
        elif isinstance(module, nn.Linear) and _disk_name(layer, index, name) in matrices:
            module.register_forward_pre_hook(lambda _, inputs: (fake_quantize_activations(inputs[0]),))
            sites += 1
    return sites


def _disk_name(layer: nn.Module, index: int, name: str) -> str:
    """Name on disk of a linear layer; the residual MLP is the expert slot after the last routed one."""
    if name.startswith("mlp.residual."):
        experts = layer.get_submodule("mlp.experts").num_experts
        assert isinstance(experts, int)
        return expert_matrix(index, experts, name.removeprefix("mlp.residual.")).removesuffix(".weight")
    return f"model.layers.{index}.{name}"


def _with_implementation(config: Any) -> Any:
    """A copy of the configuration that selects the rounding experts below."""
    config = type(config).from_dict(config.to_dict())
    config._experts_implementation = _IMPLEMENTATION
    return config


def _experts_with_int8_activations(
    experts: GPTMoEExperts, x_TD: torch.Tensor, index_TK: torch.Tensor, weight_TK: torch.Tensor
) -> torch.Tensor:
    """The plain loop over experts with both of their inputs rounded."""
    x_TD = fake_quantize_activations(x_TD)
    out_TD = torch.zeros_like(x_TD)
    for expert in index_TK.unique().tolist():
        token, slot = torch.where(index_TK == expert)
        gate, up = F.linear(x_TD[token], experts.gate_up_proj[expert]).chunk(2, dim=-1)
        y = F.linear(fake_quantize_activations(experts.act_fn(gate) * up), experts.down_proj[expert])
        out_TD.index_add_(0, token, (y * weight_TK[token, slot, None]).to(out_TD.dtype))
    return out_TD


ALL_EXPERTS_FUNCTIONS.register(_IMPLEMENTATION, _experts_with_int8_activations)
