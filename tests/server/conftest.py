"""One tiny artifact and, for the tests marked `engine`, one vLLM engine that serves it for the whole session.

The vLLM engine belongs to the event loop of the session: tests that use it carry
`pytest.mark.asyncio(loop_scope="session")`. A test that kills or stops it starts it again.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from moesaic.artifact import ModelArtifact
from moesaic.server import MoesaicServer, ServedModel, ServerConfig
from moesaic.server.engine import VllmEngine, VllmSettings
from tests.server.engine.tiny_artifact import write_artifact
from tests.server.serving import Served

ENGINE_SETTINGS = VllmSettings(
    max_num_seqs=8,
    max_num_batched_tokens=64,  # small, so that prompts of tests are computed in pieces
    max_queued_requests=24,
    kv_cache_bytes=64 * 2**20,
)


@pytest.fixture(scope="session")
def tiny_artifact(tmp_path_factory: pytest.TempPathFactory) -> ModelArtifact:
    """A random GPT-MoE in fp32, with a canary."""
    return write_artifact(tmp_path_factory.mktemp("artifacts") / "tiny")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def vllm_engine(tiny_artifact: ModelArtifact) -> AsyncIterator[VllmEngine]:
    """The one real engine, ready."""
    engine = VllmEngine(tiny_artifact, ENGINE_SETTINGS)
    await engine.start()
    yield engine
    await engine.stop()


@pytest.fixture
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files of this process go during the test."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


class Lent:
    """An engine that stays when its server goes."""

    def __init__(self, engine: VllmEngine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def stop(self) -> None:
        """Leave it to whoever lent it."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def engine_served(vllm_engine: VllmEngine) -> AsyncIterator[Served]:
    """A server over the session's engine."""
    config = ServerConfig(listen="127.0.0.1:0", drain_s=0.0)
    lent: Any = Lent(vllm_engine)
    server = MoesaicServer(lent, config, model=ServedModel.of(vllm_engine.artifact))
    await server.start()
    async with grpc.aio.insecure_channel(server.target) as channel:
        yield Served(server=server, channel=channel)
    await server.stop()
