"""A lost process, or a lost worker of it, is noticed at once. Without vLLM: what computes here only waits."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from moesaic.artifact import ModelArtifact
from moesaic.errors import EngineDeadError
from moesaic.server.engine import vllm_run
from moesaic.server.engine.vllm_run import VllmRun
from moesaic.server.engine.vllm_settings import VllmSettings
from tests.server.engine.machines import MACHINES
from tests.server.engine.test_engine_process import PATIENCE_S, content, gone, write_and_wait


class Client:
    """What a run needs of a client."""

    dead = False
    listens = True

    async def warm_up(self) -> None:
        """Be warm."""

    def stop_listening(self) -> None:
        """Be deaf."""
        self.listens = False

    def shutdown(self) -> None:
        """Be down; whoever still listens would hear of a failure."""
        assert not self.listens

    def release(self) -> None:
        """Be free."""


@pytest_asyncio.fixture
async def run(tiny_artifact: ModelArtifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[VllmRun]:
    """A run whose process has started one worker."""

    def build(self: VllmRun) -> Client:
        self.process.assign(write_and_wait, {"path": str(tmp_path / "out")})
        self.process.start()
        content(tmp_path / "out")
        return Client()

    monkeypatch.setenv("EARLY", "")
    monkeypatch.setattr(vllm_run, "process_modules", lambda artifact, machine: ["json"])
    monkeypatch.setattr(VllmRun, "_build", build)
    run = VllmRun(tiny_artifact, VllmSettings(), MACHINES["avx512"])
    await run.open()
    yield run
    await run.close(keep_log=False)


async def test_a_lost_worker_is_noticed(run: VllmRun, tmp_path: Path) -> None:
    worker = int(content(tmp_path / "out")[1])
    assert run.process.workers() == [worker]
    os.kill(worker, signal.SIGKILL)
    await asyncio.wait_for(run.ended.wait(), PATIENCE_S)
    assert await run.last_words() == f"its worker process {worker} ended"


async def test_a_lost_process_is_noticed(run: VllmRun, tmp_path: Path) -> None:
    worker = int(content(tmp_path / "out")[1])
    os.kill(run.process.pid, signal.SIGKILL)
    await asyncio.wait_for(run.ended.wait(), PATIENCE_S)
    assert "SIGKILL" in str(await run.last_words())
    await run.close(keep_log=False)
    assert gone(worker)


async def test_a_client_that_takes_the_process_for_dead_is_believed(run: VllmRun) -> None:
    run.client.dead = True  # type: ignore[misc]
    await asyncio.wait_for(run.ended.wait(), PATIENCE_S)
    assert await run.last_words() is None


async def test_a_call_that_is_never_answered_ends_with_the_process(run: VllmRun) -> None:
    async def answered() -> int:
        return 7

    assert await run.unless_ended(answered()) == 7
    waiting = asyncio.create_task(run.unless_ended(asyncio.sleep(600)))
    await asyncio.sleep(0.05)
    os.kill(run.process.pid, signal.SIGKILL)
    with pytest.raises(EngineDeadError, match="SIGKILL"):
        await asyncio.wait_for(waiting, PATIENCE_S)
