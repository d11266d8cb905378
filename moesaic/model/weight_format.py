"""How quantized weights are stored, as `quantization_config` in config.json says it (compressed-tensors, vLLM 0.32).

Two formats are known. Anything else in a configuration is refused by name: a model is never half understood.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from moesaic.errors import SchemeError

__all__ = ["INT_QUANTIZED", "PACK_QUANTIZED", "WeightFormat"]

INT_QUANTIZED = "int-quantized"
PACK_QUANTIZED = "pack-quantized"

_ADVICE = "Moesaic reads int-quantized (W8A8, one scale per row) and pack-quantized (W4, groups) checkpoints"
_ABSENT: tuple[object, ...] = (None, {}, [])
_PLAIN_ORDER = (None, "static", "weight")  # the others store the weights permuted


@dataclass(frozen=True, kw_only=True)
class WeightFormat:
    """One way of storing all quantized matrices of a model."""

    format: str
    """`int-quantized` or `pack-quantized`."""
    weight_bits: int
    """8 or 4."""
    activation_bits: int | None
    """8 where kernels round each token's activations, else None."""
    group_size: int | None
    """Weights that share a scale, or None for one scale per output row."""
    ignore: tuple[str, ...]
    """Linear layers that are not quantized: names, or `re:` and a regular expression that matches from the start."""

    def config(self) -> dict[str, Any]:
        """The `quantization_config` for config.json."""
        weights = {
            "num_bits": self.weight_bits,
            "type": "int",
            "symmetric": True,
            "strategy": "channel" if self.group_size is None else "group",
            "group_size": self.group_size,
            "dynamic": False,
        }
        activations = None
        if self.activation_bits is not None:
            activations = {
                "num_bits": self.activation_bits,
                "type": "int",
                "symmetric": True,
                "strategy": "token",
                "dynamic": True,
            }
        group = {
            "targets": ["Linear"],
            "weights": weights,
            "input_activations": activations,
            "output_activations": None,
        }
        return {
            "quant_method": "compressed-tensors",
            "quantization_status": "compressed",
            "format": self.format,
            "config_groups": {"group_0": group},
            "kv_cache_scheme": None,
            "ignore": list(self.ignore),
        }

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> Self:
        """Understand a `quantization_config`, or raise SchemeError with the entry that is not known."""
        _expect("quant_method", config.get("quant_method"), "compressed-tensors")
        for key in ("sparsity_config", "transform_config", "kv_cache_scheme"):
            _expect(key, config.get(key), *_ABSENT)
        groups = config.get("config_groups")
        if not isinstance(groups, Mapping) or len(groups) != 1:
            raise SchemeError(f"config_groups={groups!r}: expected exactly one group; {_ADVICE}")
        group = next(iter(groups.values()))
        if not isinstance(group, Mapping) or not isinstance(group.get("weights"), Mapping):
            raise SchemeError(f"config_groups={groups!r}: expected a group with weights; {_ADVICE}")
        _expect("targets", group.get("targets"), ["Linear"])
        _expect("output_activations", group.get("output_activations"), *_ABSENT)
        form = group.get("format") or config.get("format")
        _expect("format", form, INT_QUANTIZED, PACK_QUANTIZED)
        inputs = group.get("input_activations")
        packed = form == PACK_QUANTIZED
        group_size = _group_size(group["weights"], packed)
        if packed:
            _expect("input_activations", inputs, *_ABSENT)
        else:
            _check_activations(inputs)
        return cls(
            format=str(form),
            weight_bits=4 if packed else 8,
            activation_bits=None if packed else 8,
            group_size=group_size,
            ignore=_ignore(config.get("ignore")),
        )

    def ignores(self, matrix: str) -> bool:
        """Whether a linear layer (its name without `.weight`) is left in floating point."""
        return any(
            re.match(entry.removeprefix("re:"), matrix) is not None if entry.startswith("re:") else entry == matrix
            for entry in self.ignore
        )


def _group_size(weights: Mapping[str, Any], packed: bool) -> int | None:
    _expect("weights.type", weights.get("type", "int"), "int")
    _expect("weights.num_bits", weights.get("num_bits"), 4 if packed else 8)
    _expect("weights.symmetric", weights.get("symmetric", True), True)
    _expect("weights.dynamic", weights.get("dynamic", False), False)
    _expect("weights.actorder", weights.get("actorder"), *_PLAIN_ORDER)
    _expect("weights.block_structure", weights.get("block_structure"), *_ABSENT)
    _expect("weights.strategy", weights.get("strategy"), "group" if packed else "channel")
    if not packed:
        return None
    size = weights.get("group_size")
    if type(size) is not int or size < 8 or size % 8:
        raise SchemeError(f"weights.group_size={size!r}: expected a multiple of 8, such as 32; {_ADVICE}")
    return size


def _check_activations(inputs: object) -> None:
    if not isinstance(inputs, Mapping):
        raise SchemeError(f"input_activations={inputs!r}: expected 8 bits per token; {_ADVICE}")
    _expect("input_activations.type", inputs.get("type", "int"), "int")
    _expect("input_activations.num_bits", inputs.get("num_bits"), 8)
    _expect("input_activations.symmetric", inputs.get("symmetric", True), True)
    _expect("input_activations.dynamic", inputs.get("dynamic"), True)
    _expect("input_activations.strategy", inputs.get("strategy"), "token")


def _ignore(entries: object) -> tuple[str, ...]:
    if entries is None:
        return ()
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise SchemeError(f"ignore={entries!r}: expected a list of layer names; {_ADVICE}")
    for entry in entries:
        try:
            re.compile(entry.removeprefix("re:"))
        except re.error as error:
            raise SchemeError(
                f"ignore entry {entry!r} is no regular expression ({error}); correct config.json"
            ) from error
    return tuple(entries)


def _expect(key: str, value: object, *allowed: object) -> None:
    if not any(value == choice and type(value) is type(choice) for choice in allowed):
        raise SchemeError(f"{key}={value!r}: expected {' or '.join(map(repr, allowed))}; {_ADVICE}")
