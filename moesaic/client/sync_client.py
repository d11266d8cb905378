"""`Client`: the calls of `InferenceClient` over gRPC, for programs without an event loop.

    with Client("127.0.0.1:8080") as client:
        answer = client.chat(v1.ChatRequest(messages=[v1.ChatMessage(role=v1.ROLE_USER, content="Hello")]))

It may be used from several threads. Closing a stream (or leaving its loop and dropping it) cancels the call.
"""

import time
from collections.abc import Callable, Generator
from functools import cached_property
from typing import Any, Self, cast

import grpc

from moesaic import v1
from moesaic.client.call import FailedCall
from moesaic.client.connection import Connection, Stub

__all__ = ["Client"]


class Client(Connection):
    """Asks a server; see `InferenceClient` for the calls and what they raise, `Connection` for the arguments."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def generate(self, request: v1.GenerateRequest, *, timeout_s: float | None = None) -> v1.GenerateResponse:
        """Continue a prompt."""
        return self._unary("Generate", request, timeout_s)

    def generate_stream(
        self, request: v1.GenerateStreamRequest, *, timeout_s: float | None = None
    ) -> Generator[v1.GenerateStreamResponse, None, None]:
        """Continue a prompt, token by token."""
        return self._stream("GenerateStream", request, timeout_s)

    def chat(self, request: v1.ChatRequest, *, timeout_s: float | None = None) -> v1.ChatResponse:
        """Answer a conversation."""
        return self._unary("Chat", request, timeout_s)

    def chat_stream(
        self, request: v1.ChatStreamRequest, *, timeout_s: float | None = None
    ) -> Generator[v1.ChatStreamResponse, None, None]:
        """Answer a conversation, token by token."""
        return self._stream("ChatStream", request, timeout_s)

    def score(self, request: v1.ScoreRequest, *, timeout_s: float | None = None) -> v1.ScoreResponse:
        """Say how likely texts are as continuations of a prompt."""
        return self._unary("Score", request, timeout_s)

    def embed(self, request: v1.EmbedRequest, *, timeout_s: float | None = None) -> v1.EmbedResponse:
        """Give vectors for texts."""
        return self._unary("Embed", request, timeout_s)

    def tokenize(self, request: v1.TokenizeRequest, *, timeout_s: float | None = None) -> v1.TokenizeResponse:
        """Give the tokens of a text or of a conversation."""
        return self._unary("Tokenize", request, timeout_s)

    def detokenize(self, request: v1.DetokenizeRequest, *, timeout_s: float | None = None) -> v1.DetokenizeResponse:
        """Give the text of tokens."""
        return self._unary("Detokenize", request, timeout_s)

    def abort(self, request: v1.AbortRequest, *, timeout_s: float | None = None) -> v1.AbortResponse:
        """End a request of the same caller."""
        return self._unary("Abort", request, timeout_s)

    def get_server_info(
        self, request: v1.GetServerInfoRequest, *, timeout_s: float | None = None
    ) -> v1.GetServerInfoResponse:
        """Tell versions, limits and capabilities."""
        return self._unary("GetServerInfo", request, timeout_s)

    def get_model_info(
        self, request: v1.GetModelInfoRequest, *, timeout_s: float | None = None
    ) -> v1.GetModelInfoResponse:
        """Tell what is served."""
        return self._unary("GetModelInfo", request, timeout_s)

    def get_load(self, request: v1.GetLoadRequest, *, timeout_s: float | None = None) -> v1.GetLoadResponse:
        """Tell how busy the server is."""
        return self._unary("GetLoad", request, timeout_s)

    def close(self) -> None:
        """Close the connection; calls that are open fail."""
        self._closed = True
        self._channel.close()

    @cached_property
    def _channel(self) -> grpc.Channel:
        channel: grpc.Channel = self._open(grpc)
        return channel

    @cached_property
    def _stub(self) -> Stub:
        return Stub(self._channel)

    def _method(self, name: str) -> Callable[..., Any]:
        method: Callable[..., Any] = getattr(self._stub, name)
        return method

    def _unary(self, name: str, request: object, timeout_s: float | None) -> Any:
        call = self._begin(timeout_s)
        method = self._method(name)
        while True:
            try:
                return method(request, timeout=call.remaining_s(), metadata=call.metadata)
            except grpc.RpcError as failed:
                pause_s = call.pause_s(cast("FailedCall", failed))
            time.sleep(pause_s)

    def _stream(self, name: str, request: object, timeout_s: float | None) -> Generator[Any, None, None]:
        call = self._begin(timeout_s)
        method = self._method(name)
        while True:
            event = None
            rpc = method(request, timeout=call.remaining_s(), metadata=call.metadata)
            try:
                for received in rpc:
                    event = received
                    yield event
                break
            except grpc.RpcError as failed:
                pause_s = call.pause_s(cast("FailedCall", failed), begun=event is not None)
            finally:
                rpc.cancel()
            time.sleep(pause_s)
        if event is None or not event.HasField("finished"):
            raise call.incomplete()
