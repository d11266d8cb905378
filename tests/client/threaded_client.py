"""The synchronous `Client` behind the asynchronous protocol, one thread per wait, so that both pass the same tests."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from moesaic.client import Client

__all__ = ["ThreadedClient"]

_STREAMS = ("generate_stream", "chat_stream")


class ThreadedClient:
    """An `InferenceClient` over a `Client`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        async def unary(request: object, *, timeout_s: float | None = None) -> Any:
            return await asyncio.to_thread(method, request, timeout_s=timeout_s)

        def stream(request: object, *, timeout_s: float | None = None) -> AsyncGenerator[Any, None]:
            return _iterated(method(request, timeout_s=timeout_s))

        return stream if name in _STREAMS else unary

    async def aclose(self) -> None:
        self._client.close()


async def _iterated(items: Generator[Any, None, None]) -> AsyncGenerator[Any, None]:
    try:
        while (item := await asyncio.to_thread(next, items, None)) is not None:
            yield item
    finally:
        await asyncio.to_thread(items.close)
