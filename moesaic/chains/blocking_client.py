"""`BlockingClient`: an `InferenceClient` for code that cannot await, on the event loop where the client lives.

An in-process client belongs to the loop that runs its engine. LangChain calls synchronous code from worker threads;
there each call is handed to that loop and waited for.
"""

import asyncio
from collections.abc import Coroutine, Generator
from contextlib import suppress
from typing import Any, TypeVar

from moesaic import v1
from moesaic.client import InferenceClient
from moesaic.errors import InputError

__all__ = ["BlockingClient"]

T = TypeVar("T")


class BlockingClient:
    """The calls of `moesaic.client.Client` that chains need, over an `InferenceClient`.

    Args:
        client: what is asked.
        loop: where it lives; None if it was not made in a running loop.
    """

    def __init__(self, client: InferenceClient, loop: asyncio.AbstractEventLoop | None) -> None:
        self._client = client
        self._loop = loop

    def chat(self, request: v1.ChatRequest, *, timeout_s: float | None = None) -> v1.ChatResponse:
        """Answer a conversation."""
        return self._wait(self._client.chat(request, timeout_s=timeout_s))

    def chat_stream(
        self, request: v1.ChatStreamRequest, *, timeout_s: float | None = None
    ) -> Generator[v1.ChatStreamResponse, None, None]:
        """Answer a conversation, token by token."""
        events = self._client.chat_stream(request, timeout_s=timeout_s)
        try:
            while True:
                try:
                    event = self._wait(anext(events))
                except StopAsyncIteration:
                    return
                yield event
        finally:
            self._wait(events.aclose())

    def embed(self, request: v1.EmbedRequest, *, timeout_s: float | None = None) -> v1.EmbedResponse:
        """Give vectors for texts."""
        return self._wait(self._client.embed(request, timeout_s=timeout_s))

    def tokenize(self, request: v1.TokenizeRequest, *, timeout_s: float | None = None) -> v1.TokenizeResponse:
        """Give the tokens of a text or of a conversation."""
        return self._wait(self._client.tokenize(request, timeout_s=timeout_s))

    def get_server_info(
        self, request: v1.GetServerInfoRequest, *, timeout_s: float | None = None
    ) -> v1.GetServerInfoResponse:
        """Tell versions, limits and capabilities."""
        return self._wait(self._client.get_server_info(request, timeout_s=timeout_s))

    def _wait(self, asked: Coroutine[Any, Any, T]) -> T:
        """Run `asked` on the client's loop; raises `InputError` where that could never end."""
        running = None
        with suppress(RuntimeError):
            running = asyncio.get_running_loop()
        if self._loop is None or self._loop is running or not self._loop.is_running():
            asked.close()
            raise InputError(
                f"{type(self._client).__name__} cannot be waited for here: use the asynchronous methods (ainvoke, "
                "astream, aembed_documents), call from another thread than that of its running event loop, or give "
                "the target of a server instead of a client"
            )
        future = asyncio.run_coroutine_threadsafe(asked, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # an interruption of this thread; no effect on what has failed already
            raise
