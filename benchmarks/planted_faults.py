"""Faults in a mixture that no checksum of a kernel and no shape betrays, and whether the canary finds them.

Planted while the weights are read, one at a time, so that no copy of the model is needed: two experts exchanged, two
rows of the router exchanged, or the two coefficients of routed and residual branch exchanged, each in an early, a middle
and the last mixture. The model must have experts that differ: in a fresh copy-upcycled one these faults change nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoConfig

import moesaic.model  # noqa: F401  registers the architecture
from moesaic.artifact import ModelArtifact
from moesaic.errors import CanaryError
from moesaic.model.canary import teacher_forced_logprobs
from moesaic.model.checkpoint import expert_matrix, open_weights
from moesaic.model.emulation import int8_activation_matrices
from moesaic.model.shards import ShardReader, TensorSource, TensorSpec

__all__ = ["FaultResult", "FaultySource", "PlantedFault", "detect_faults", "faults", "faulty_layers"]

_MATRICES = ("gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, kw_only=True)
class PlantedFault:
    """One fault: tensors that take each other's place, and rows of tensors that do."""

    name: str
    layer: int
    tensors: Mapping[str, str]
    """For a tensor's name, the name of the one to read instead."""
    rows: Mapping[str, tuple[int, int]]
    """For a tensor's name, the two rows to exchange."""


@dataclass(frozen=True, kw_only=True)
class FaultResult:
    """What the canary said."""

    fault: str
    layer: int | None
    """None for the sound model."""
    difference: float
    """Mean |Δ log-probability|, nats."""
    threshold: float
    detected: bool


class FaultySource:
    """Another source's tensors, with one fault among them."""

    def __init__(self, source: TensorSource, fault: PlantedFault | None) -> None:
        self._source = source
        self._tensors = {} if fault is None else fault.tensors
        self._rows = {} if fault is None else fault.rows

    @property
    def names(self) -> list[str]:
        """All tensor names."""
        return self._source.names

    def spec(self, name: str) -> TensorSpec:
        """Element type and shape; a fault never changes them."""
        return self._source.spec(name)

    def read(self, name: str) -> torch.Tensor:
        """The tensor, at fault where the fault says so."""
        tensor = self._source.read(self._tensors.get(name, name))
        if name in self._rows:
            first, second = self._rows[name]
            tensor[[first, second]] = tensor[[second, first]]
        return tensor


def faulty_layers(counts: list[int]) -> list[int]:
    """The first, the middle and the last mixture among layers with these numbers of experts."""
    mixtures = [layer for layer, experts in enumerate(counts) if experts]
    return sorted({mixtures[0], mixtures[len(mixtures) // 2], mixtures[-1]})


def faults(layer: int, experts: int) -> list[PlantedFault]:
    """The three faults of one mixture with this many routed experts."""
    names = [(expert_matrix(layer, 0, matrix), expert_matrix(layer, 1, matrix)) for matrix in _MATRICES]
    gate = [f"model.layers.{layer}.mlp.gate.{kind}" for kind in ("weight", "bias")]

    def rows(first: int, second: int) -> dict[str, tuple[int, int]]:
        return dict.fromkeys(gate, (first, second))

    swapped = {name: other for pair in names for name, other in (pair, pair[::-1])}
    return [
        PlantedFault(name="two experts exchanged", layer=layer, tensors=swapped, rows={}),
        # Other experts than above: the same two would be the same fault seen from the other side.
        PlantedFault(name="two gate rows exchanged", layer=layer, tensors={}, rows=rows(0, experts - 1)),
        PlantedFault(name="coefficients exchanged", layer=layer, tensors={}, rows=rows(experts, experts + 1)),
    ]


def detect_faults(folder: Path) -> list[FaultResult]:
    """Replay the artifact's canary on sound weights and on each fault, in plain PyTorch; the sound one comes first."""
    artifact = ModelArtifact.open(folder)
    config = AutoConfig.from_pretrained(folder)
    quantization = getattr(config, "quantization_config", None)
    source = open_weights(folder, {"quantization_config": quantization}, torch.float32)
    matrices = int8_activation_matrices(ShardReader(folder).names, quantization)
    counts = config.num_experts_per_layer
    planted = [fault for layer in faulty_layers(counts) for fault in faults(layer, counts[layer])]
    canary = artifact.manifest.canary
    assert canary is not None
    results = []
    for fault in (None, *planted):
        observed = teacher_forced_logprobs(
            FaultySource(source, fault), config, canary.sequences, int8_inputs=matrices
        )
        try:
            canary.check(observed)
            detected = False
        except CanaryError:
            detected = True
        results.append(
            FaultResult(
                fault="none" if fault is None else fault.name,
                layer=None if fault is None else fault.layer,
                difference=canary.difference(observed),
                threshold=canary.threshold,
                detected=detected,
            )
        )
    return results
