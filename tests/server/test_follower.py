"""A server that follows a registry: what is published is served, what does not load is refused."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest

from moesaic import v1
from moesaic.artifact import ModelArtifact, ModelRegistry, RegistryVerb
from moesaic.errors import CanaryError
from moesaic.server import MoesaicServer, RegistryFollower, ServedModel, ServerConfig
from moesaic.server.engine import EngineState, ScriptedEngine, ScriptedReply
from tests.artifact.builders import build
from tests.client.waiting import PATIENCE_S, until
from tests.server.serving import Served, generate, streamed


class FailingEngine(ScriptedEngine):
    """An engine whose weights do not compute what its artifact promises."""

    async def start(self) -> None:
        raise CanaryError("other numbers", difference=1.0, threshold=0.1)


class Scene(NamedTuple):
    """A server that follows, and what it follows."""

    served: Served
    registry: ModelRegistry
    follower: RegistryFollower
    artifacts: list[ModelArtifact]

    def verbs(self) -> list[tuple[RegistryVerb, str]]:
        return [(event.verb, event.version) for event in self.registry.history()]

    async def weight_version(self) -> str:
        answer = await self.served.call("Generate", generate(max_tokens=4))
        return str(answer.weight_version)


def engine_of(artifact: ModelArtifact) -> ScriptedEngine:
    """An engine that says its artifact's name; one of that name fails."""
    if artifact.manifest.name == "fails":
        return FailingEngine()
    slow = 0.02 if artifact.manifest.name == "slow" else 0.0
    return ScriptedEngine([ScriptedReply(text=artifact.manifest.name * 9, token_delay_s=slow)] * 50)


@asynccontextmanager
async def following(
    folder: Path, *names: str, make: Callable[[ModelArtifact], ScriptedEngine] = engine_of
) -> AsyncIterator[Scene]:
    """Artifacts of these names, the first of them published and served."""
    artifacts = [build(folder / f"artifact-{number}", name=name) for number, name in enumerate(names)]
    registry = ModelRegistry.create(folder / "registry")
    version = registry.publish(artifacts[0])
    server = MoesaicServer(
        make(artifacts[0]),
        ServerConfig(listen="127.0.0.1:0", drain_s=4 * PATIENCE_S),
        model=ServedModel.of(registry.artifact()),
    )
    follower = RegistryFollower(server, registry, version, make, look_s=0.02)
    await server.start()
    task = asyncio.create_task(follower.run())
    try:
        async with grpc.aio.insecure_channel(server.target) as channel:
            yield Scene(Served(server=server, channel=channel), registry, follower, artifacts)
    finally:
        task.cancel()
        await asyncio.wait({task})
        await server.stop(0)


async def test_what_is_published_is_served(tmp_path: Path) -> None:
    async with following(tmp_path, "first", "second") as scene:
        assert await scene.weight_version() == scene.artifacts[0].digest
        former = scene.served.server.engine
        version = scene.registry.publish(scene.artifacts[1])
        await until(lambda: scene.follower.version == version)
        assert await scene.weight_version() == scene.artifacts[1].digest
        assert former.state is not EngineState.READY
        info = await scene.served.call("GetModelInfo", v1.GetModelInfoRequest())
        assert info.model == "second"
        assert scene.verbs()[-1] == (RegistryVerb.SERVED, version)


async def test_what_was_open_ends_whole(tmp_path: Path) -> None:
    async with following(tmp_path, "slow", "second") as scene:
        call = asyncio.ensure_future(scene.served.call("GenerateStream", streamed(max_tokens=30)))
        await until(lambda: scene.served.server.engine.load().running == 1)
        version = scene.registry.publish(scene.artifacts[1])
        events = await call
        assert events[0].started.weight_version == scene.artifacts[0].digest
        assert events[-1].finished.usage.completion_tokens == 30
        await until(lambda: scene.follower.version == version)


async def test_what_does_not_start_is_refused_and_the_former_serves_on(tmp_path: Path) -> None:
    async with following(tmp_path, "first", "fails") as scene:
        kept = scene.follower.version
        version = scene.registry.publish(scene.artifacts[1])
        await until(lambda: (RegistryVerb.REFUSED, version) in scene.verbs())
        assert scene.registry.current == kept == scene.follower.version
        await until(lambda: scene.served.server.engine.state is EngineState.READY)
        assert await scene.weight_version() == scene.artifacts[0].digest
        assert scene.registry.history()[-1].facts == {"reason": "CanaryError: other numbers"}


async def test_a_damaged_version_is_refused_without_a_pause(tmp_path: Path) -> None:
    async with following(tmp_path, "first", "second") as scene:
        former = scene.served.server.engine
        version = scene.registry.add(scene.artifacts[1])
        weights = scene.registry.folder / "versions" / version / "model.safetensors"
        weights.write_bytes(bytes(weights.stat().st_size))
        (scene.registry.folder / "next").symlink_to(f"versions/{version}")
        (scene.registry.folder / "next").replace(scene.registry.folder / "current")
        await until(lambda: (RegistryVerb.REFUSED, version) in scene.verbs())
        assert scene.served.server.engine is former
        assert former.state is EngineState.READY
        assert "altered" in scene.registry.history()[-1].facts["reason"]


async def test_a_rollback_is_followed_and_a_refused_version_may_come_again(tmp_path: Path) -> None:
    failing = [True]

    def make(artifact: ModelArtifact) -> ScriptedEngine:
        return FailingEngine() if artifact.manifest.name == "second" and failing[0] else engine_of(artifact)

    async with following(tmp_path, "first", "second", "third", make=make) as scene:
        first = scene.follower.version
        second = scene.registry.publish(scene.artifacts[1])
        await until(lambda: (RegistryVerb.REFUSED, second) in scene.verbs())
        third = scene.registry.publish(scene.artifacts[2])
        await until(lambda: scene.follower.version == third)
        scene.registry.publish(scene.artifacts[1])
        await until(lambda: scene.verbs().count((RegistryVerb.REFUSED, second)) == 2)
        await until(lambda: scene.follower._refused is None)
        failing[0] = False
        scene.registry.publish(scene.artifacts[1])
        await until(lambda: scene.follower.version == second)
        scene.registry.rollback(first)
        await until(lambda: scene.follower.version == first)
        assert await scene.weight_version() == scene.artifacts[0].digest


async def test_a_broken_link_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with following(tmp_path, "first", "second") as scene:
        link = scene.registry.folder / "current"
        link.unlink()
        link.write_text("no link")
        await until(lambda: "the registry cannot be read" in caplog.text)
        assert await scene.weight_version() == scene.artifacts[0].digest
        link.unlink()
        version = scene.registry.publish(scene.artifacts[1])
        await until(lambda: scene.follower.version == version)


async def test_callers_are_told_to_come_back_while_it_turns(tmp_path: Path) -> None:
    go = asyncio.Event()

    class SlowStart(ScriptedEngine):
        async def start(self) -> None:
            await go.wait()
            await super().start()

    def make(artifact: ModelArtifact) -> ScriptedEngine:
        return SlowStart(["x"] * 9) if artifact.manifest.name == "second" else engine_of(artifact)

    async with following(tmp_path, "first", "second", make=make) as scene:
        version = scene.registry.publish(scene.artifacts[1])
        await until(lambda: isinstance(scene.served.server.engine, SlowStart))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await scene.served.call("Generate", generate())
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert not await scene.served.healthy()
        go.set()
        await until(lambda: scene.follower.version == version)
        assert await scene.served.healthy()
