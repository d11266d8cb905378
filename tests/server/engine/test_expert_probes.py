"""Real engines run the expert probes at every start, and refuse a model with two experts exchanged."""

from pathlib import Path

import pytest

from moesaic.artifact import ModelArtifact, update_manifest
from moesaic.errors import CanaryError
from moesaic.model.canary import make_canary
from moesaic.model.conversion import quantize
from moesaic.model.quantized import Scheme
from moesaic.server.engine import EngineState, TransformersEngine, VllmEngine, VllmSettings
from tests.model.planted_faults import exchange_experts, plant
from tests.server.engine.tiny_artifact import write_artifact

SETTINGS = VllmSettings(max_num_seqs=8, max_num_batched_tokens=64, kv_cache_bytes=16 * 2**20)


@pytest.fixture(scope="module")
def int8_artifact(tmp_path_factory: pytest.TempPathFactory) -> ModelArtifact:
    """A tiny GPT-MoE in int8."""
    folder = tmp_path_factory.mktemp("probes")
    parent = write_artifact(folder / "plain")
    return quantize(parent.folder, folder / "int8", Scheme.INT8)


def other_promise(artifact: ModelArtifact, tmp_path: Path, layer: int) -> ModelArtifact:
    """The artifact with the canary of one in which experts 0 and 1 of a layer are exchanged.

    The log-probabilities stay its own, so that the probes alone can tell.
    """
    canary = artifact.manifest.canary
    assert canary is not None
    faulty = plant(exchange_experts, artifact.folder, tmp_path / "faulty", [layer])
    promised = make_canary(faulty, canary.sequences, dtype=artifact.manifest.architecture.dtype)
    ...
