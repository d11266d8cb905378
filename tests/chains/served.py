"""A real server on this machine, in a thread of its own, as LangChain's tests meet it: from sync and async code."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any

from moesaic.server import MoesaicServer, ServerConfig
from moesaic.server.engine import ScriptedEngine, running

__all__ = ["in_thread", "served"]


@contextmanager
def in_thread(serving: Callable[[], AbstractAsyncContextManager[str]]) -> Iterator[str]:
    """Have what serves run in a thread with a loop of its own for the time of a block; gives its target."""
    ready, done = threading.Event(), asyncio.Event()
    found: dict[str, Any] = {}

    async def serve() -> None:
        found["loop"] = asyncio.get_running_loop()
        try:
            async with serving() as target:
                found["target"] = target
                ready.set()
                await done.wait()
        finally:
            ready.set()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(60)
        yield found["target"]
    finally:
        found["loop"].call_soon_threadsafe(done.set)
        thread.join(60)
        assert not thread.is_alive()


@contextmanager
def served(engine: ScriptedEngine, *, embedder: Any = None) -> Iterator[str]:
    """Serve `engine` as the model `tiny` for the time of a block; gives the target."""

    @asynccontextmanager
    async def serving() -> AsyncIterator[str]:
        async with running(engine):
            server = MoesaicServer(engine, ServerConfig(listen="127.0.0.1:0"), model_name="tiny", embedder=embedder)
            await server.start()
            yield server.target
            await server.stop()

    with in_thread(serving) as target:
        yield target
