"""Engines run the expert probes at every start, and refuse a model with two experts exchanged."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from moesaic.artifact import Canary, ModelArtifact, update_manifest
from moesaic.errors import CanaryError
from moesaic.model.conversion import quantize
from moesaic.model.probes import make_probes
from moesaic.model.quantized import Scheme
from moesaic.server.engine import EngineState, TransformersEngine, VllmEngine, VllmSettings
from tests.model.planted_faults import exchange_experts, plant
from tests.server.engine.tiny_artifact import write_artifact


@pytest.fixture(scope="module")
def int8_artifact(tmp_path_factory: pytest.TempPathFactory) -> ModelArtifact:
    """A tiny GPT-MoE in int8."""
    folder = tmp_path_factory.mktemp("probes")
    write_artifact(folder / "plain", dtype=torch.bfloat16)
    return quantize(folder / "plain", folder / "int8", Scheme.INT8)


@pytest.fixture
def other_promise(int8_artifact: ModelArtifact, tmp_path: Path) -> ModelArtifact:
    """The artifact with the probes of a model in which two experts of layer 3 are exchanged.

    Its log-probabilities are its own, so that nothing but the probes can tell.
    """
    faulty = plant(exchange_experts, int8_artifact.folder, tmp_path / "faulty", [3])
    copy = plant(exchange_experts, faulty, tmp_path / "copy", [3])
    canary = replace(canary_of(int8_artifact), probes=make_probes(faulty))
    return update_manifest(ModelArtifact.open(copy), canary=canary)


def canary_of(artifact: ModelArtifact) -> Canary:
    assert artifact.manifest.canary is not None
    return artifact.manifest.canary


def settings(tmp_path: Path, experts: str = "auto") -> VllmSettings:
    return VllmSettings(
        max_num_seqs=8,
        max_num_batched_tokens=64,
        kv_cache_bytes=16 * 2**20,
        experts=experts,
        cache_folder=tmp_path / "cache",
    )


@pytest.mark.engine
@pytest.mark.parametrize("experts", ["auto", "bf16"])
async def test_vllm_passes_the_probes_of_what_it_serves(
    int8_artifact: ModelArtifact, tmp_path: Path, experts: str
) -> None:
    assert [probe.layer for probe in canary_of(int8_artifact).probes] == [1, 3]
    engine = VllmEngine(int8_artifact, settings(tmp_path, experts))
    await engine.start()
    try:
        assert engine.state is EngineState.READY
    finally:
        await engine.stop()


@pytest.mark.engine
async def test_vllm_refuses_exchanged_experts(other_promise: ModelArtifact, tmp_path: Path) -> None:
    engine = VllmEngine(other_promise, settings(tmp_path))
    with pytest.raises(CanaryError, match="in layer 3 is off by") as caught:
        await engine.start()

    assert caught.value.difference > 2 * caught.value.threshold
    assert engine.state is EngineState.FAILED
    assert engine.process_id is None


async def test_the_plain_engine_passes_the_probes(int8_artifact: ModelArtifact) -> None:
    engine = TransformersEngine(int8_artifact)
    await engine.start()
    await engine.stop()


async def test_the_plain_engine_refuses_exchanged_experts(other_promise: ModelArtifact) -> None:
    engine = TransformersEngine(other_promise)
    with pytest.raises(CanaryError, match="in layer 3 is off by"):
        await engine.start()

    assert engine.state is EngineState.FAILED
