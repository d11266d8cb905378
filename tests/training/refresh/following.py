"""A real server that follows a registry, in a thread of its own; what it computes is scripted."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from moesaic.artifact import ModelArtifact, ModelRegistry
from moesaic.errors import CanaryError
from moesaic.server import MoesaicServer, RegistryFollower, ServedModel, ServerConfig
from moesaic.server.engine import ScriptedEngine

__all__ = ["following_server"]


class _FailingEngine(ScriptedEngine):
    async def start(self) -> None:
        raise CanaryError("other numbers", difference=1.0, threshold=0.1)


@contextmanager
def following_server(registry: ModelRegistry, *, refuses: bool = False) -> Iterator[str]:
    """Serve what is current for the time of a block; gives the target. Any further version `refuses` to start."""
    ready, done = threading.Event(), asyncio.Event()
    found: dict[str, Any] = {}

    def engine_of(_: ModelArtifact) -> ScriptedEngine:
        return _FailingEngine() if refuses else ScriptedEngine(["x"])

    async def serve() -> None:
        found["loop"] = asyncio.get_running_loop()
        artifact = registry.artifact()
        server = MoesaicServer(
            ScriptedEngine(["x"]), ServerConfig(listen="127.0.0.1:0", drain_s=0.0), model=ServedModel.of(artifact)
        )
        follower = RegistryFollower(server, registry, artifact.folder.name, engine_of, look_s=0.02)
        try:
            await server.start()
            found["target"] = server.target
            ready.set()
            following = asyncio.create_task(follower.run())
            await done.wait()
            following.cancel()
            await asyncio.wait({following})
            await server.stop(0)
        finally:
            ready.set()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(30)
        yield found["target"]
    finally:
        found["loop"].call_soon_threadsafe(done.set)
        thread.join(30)
        assert not thread.is_alive()
