"""`AsyncClient`: an `InferenceClient` over gRPC, for asyncio.

    async with AsyncClient("127.0.0.1:8080") as client:
        answer = await client.chat(v1.ChatRequest(messages=[v1.ChatMessage(role=v1.ROLE_USER, content="Hello")]))

- Cancelling the task that waits, or closing a stream, cancels the call; the server then stops computing it.
- One client may be used from several event loops, one after the other or in several threads: each has its channel.
"""

import asyncio
import weakref
from collections.abc import AsyncGenerator, Callable
from functools import cached_property
from typing import Any, Self

import grpc
import grpc.aio

from moesaic import v1
from moesaic.client.call import Call
from moesaic.client.connection import Connection, Stub

__all__ = ["AsyncClient"]


class AsyncClient(Connection):
    """Asks a server; see `InferenceClient` for the calls and what they raise, `Connection` for the arguments."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    async def generate(self, request: v1.GenerateRequest, *, timeout_s: float | None = None) -> v1.GenerateResponse:
        """Continue a prompt."""
        return await self._unary("Generate", request, timeout_s)

    def generate_stream(
        self, request: v1.GenerateStreamRequest, *, timeout_s: float | None = None
    ) -> AsyncGenerator[v1.GenerateStreamResponse, None]:
        """Continue a prompt, token by token."""
        return self._stream("GenerateStream", request, timeout_s)

    async def chat(self, request: v1.ChatRequest, *, timeout_s: float | None = None) -> v1.ChatResponse:
        """Answer a conversation."""
        return await self._unary("Chat", request, timeout_s)

    def chat_stream(
        self, request: v1.ChatStreamRequest, *, timeout_s: float | None = None
    ) -> AsyncGenerator[v1.ChatStreamResponse, None]:
        """Answer a conversation, token by token."""
        return self._stream("ChatStream", request, timeout_s)

    async def score(self, request: v1.ScoreRequest, *, timeout_s: float | None = None) -> v1.ScoreResponse:
        """Say how likely texts are as continuations of a prompt."""
        return await self._unary("Score", request, timeout_s)

    async def embed(self, request: v1.EmbedRequest, *, timeout_s: float | None = None) -> v1.EmbedResponse:
        """Give vectors for texts."""
        return await self._unary("Embed", request, timeout_s)

    async def tokenize(self, request: v1.TokenizeRequest, *, timeout_s: float | None = None) -> v1.TokenizeResponse:
        """Give the tokens of a text or of a conversation."""
        return await self._unary("Tokenize", request, timeout_s)

    async def detokenize(
        self, request: v1.DetokenizeRequest, *, timeout_s: float | None = None
    ) -> v1.DetokenizeResponse:
        """Give the text of tokens."""
        return await self._unary("Detokenize", request, timeout_s)

    async def abort(self, request: v1.AbortRequest, *, timeout_s: float | None = None) -> v1.AbortResponse:
        """End a request of the same caller."""
        return await self._unary("Abort", request, timeout_s)

    async def get_server_info(
        self, request: v1.GetServerInfoRequest, *, timeout_s: float | None = None
    ) -> v1.GetServerInfoResponse:
        """Tell versions, limits and capabilities."""
        return await self._unary("GetServerInfo", request, timeout_s)

    async def get_model_info(
        self, request: v1.GetModelInfoRequest, *, timeout_s: float | None = None
    ) -> v1.GetModelInfoResponse:
        """Tell what is served."""
        return await self._unary("GetModelInfo", request, timeout_s)

    async def get_load(self, request: v1.GetLoadRequest, *, timeout_s: float | None = None) -> v1.GetLoadResponse:
        """Tell how busy the server is."""
        return await self._unary("GetLoad", request, timeout_s)

    async def aclose(self) -> None:
        """Close the connections; calls that are open fail."""
        self._closed = True
        while self._channels:
            _, (channel, _) = self._channels.popitem()
            await channel.close()

    @cached_property
    def _channels(self) -> weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[grpc.aio.Channel, Stub]]:
        return weakref.WeakKeyDictionary()

    def _method(self, name: str) -> Callable[..., Any]:
        """A method of the server, over the channel of the running loop: gRPC ties the two together."""
        loop = asyncio.get_running_loop()
        if loop not in self._channels:
            channel = self._open(grpc.aio)
            self._channels[loop] = channel, Stub(channel)
        method: Callable[..., Any] = getattr(self._channels[loop][1], name)
        return method

    async def _unary(self, name: str, request: object, timeout_s: float | None) -> Any:
        call = self._begin(timeout_s)
        method = self._method(name)
        while True:
            try:
                return await method(request, timeout=call.remaining_s(), metadata=call.metadata)
            except grpc.aio.AioRpcError as failed:
                pause_s = call.pause_s(failed)
            except asyncio.CancelledError as cancelled:
                self._check_open(call, cancelled)
                raise
            await asyncio.sleep(pause_s)

    async def _stream(self, name: str, request: object, timeout_s: float | None) -> AsyncGenerator[Any, None]:
        call = self._begin(timeout_s)
        method = self._method(name)
        while True:
            event = None
            rpc = method(request, timeout=call.remaining_s(), metadata=call.metadata)
            try:
                while (received := await rpc.read()) is not grpc.aio.EOF:
                    event = received
                    yield event
                break
            except grpc.aio.AioRpcError as failed:
                pause_s = call.pause_s(failed, begun=event is not None)
            except asyncio.CancelledError as cancelled:
                self._check_open(call, cancelled)
                raise
            finally:
                rpc.cancel()
            await asyncio.sleep(pause_s)
        if event is None or not event.HasField("finished"):
            raise call.incomplete()

    def _check_open(self, call: Call, cancelled: asyncio.CancelledError) -> None:
        """Tell a task that was cancelled from a client that was closed: gRPC raises the same for both."""
        task = asyncio.current_task()
        if self._closed and task is not None and not task.cancelling():
            raise call.cancelled() from cancelled
