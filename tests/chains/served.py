"""A real server on this machine, in a thread of its own, as LangChain's tests meet it: from sync and async code."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from moesaic.server import MoesaicServer, ServerConfig
from moesaic.server.engine import ScriptedEngine, running

__all__ = ["served"]


@contextmanager
def served(engine: ScriptedEngine, *, embedder: Any = None) -> Iterator[str]:
    """Serve `engine` as the model `tiny` for the time of a block; gives the target."""
    ready, done = threading.Event(), asyncio.Event()
    found: dict[str, Any] = {}

    async def serve() -> None:
        found["loop"] = asyncio.get_running_loop()
        try:
            async with running(engine):
                server = MoesaicServer(engine, ServerConfig(listen="127.0.0.1:0"), model_name="tiny", embedder=embedder)
                await server.start()
                found["target"] = server.target
                ready.set()
                await done.wait()
                await server.stop()
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
