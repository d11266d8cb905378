"""A real server that follows a registry, in a thread of its own; what it computes is scripted."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from moesaic.artifact import ModelArtifact, ModelRegistry, RegistryVerb
from moesaic.errors import CanaryError
from moesaic.server import MoesaicServer, RegistryFollower, ServedModel, ServerConfig
from moesaic.server.engine import ScriptedEngine
from tests.chains.served import in_thread
from tests.client.waiting import until

__all__ = ["following_server"]


class _FailingEngine(ScriptedEngine):
    async def start(self) -> None:
        raise CanaryError("other numbers", difference=1.0, threshold=0.1)


@contextmanager
def following_server(registry: ModelRegistry, *, refuses: bool = False) -> Iterator[str]:
    """Serve what is current for the time of a block; gives the target. Any further version `refuses` to start."""

    def engine_of(_: ModelArtifact) -> ScriptedEngine:
        return _FailingEngine() if refuses else ScriptedEngine(["x"])

    @asynccontextmanager
    async def serving() -> AsyncIterator[str]:
        artifact = registry.artifact()
        server = MoesaicServer(
            ScriptedEngine(["x"]), ServerConfig(listen="127.0.0.1:0", drain_s=0.0), model=ServedModel.of(artifact)
        )
        await server.start()
        follower = RegistryFollower(server, registry, artifact.folder.name, engine_of, look_s=0.02)
        following = asyncio.create_task(follower.run())
        # Its first note comes after its start: what a test publishes is to stand behind it in the history.
        await until(lambda: bool(registry.history()) and registry.history()[-1].verb is RegistryVerb.SERVED)
        yield server.target
        following.cancel()
        await asyncio.wait({following})
        await server.stop(0)

    with in_thread(serving) as target:
        yield target
