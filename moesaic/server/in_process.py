"""`InProcessClient`: the services without a network, for programs that hold the engine themselves."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from typing import TypeVar

from moesaic import v1
from moesaic.errors import DeadlineExceededError
from moesaic.server.discovery import DiscoveryService
from moesaic.server.inference import InferenceService
from moesaic.server.open_calls import Caller

__all__ = ["InProcessClient"]

_UNBOUNDED_BYTES = 2**31 - 1
_Answer = TypeVar("_Answer")


class InProcessClient:
    """An `InferenceClient` that calls `InferenceService` directly; the same messages, the same errors.

    Args:
        service: what answers.
        timeout_s: seconds after which a call is given up, unless it says otherwise; None never.
    """

    def __init__(self, service: InferenceService, *, timeout_s: float | None = None) -> None:
        self._service = service
        self._discovery = DiscoveryService(service, max_message_bytes=_UNBOUNDED_BYTES)
        self._timeout_s = timeout_s

    async def generate(self, request: v1.GenerateRequest, *, timeout_s: float | None = None) -> v1.GenerateResponse:
        """See `InferenceClient.generate`."""
        return await self._bounded(self._service.generate(request, Caller()), timeout_s)

    async def generate_stream(
        self, request: v1.GenerateStreamRequest, *, timeout_s: float | None = None
    ) -> AsyncGenerator[v1.GenerateStreamResponse, None]:
        """See `InferenceClient.generate_stream`."""
        async with aclosing(self._service.generate_stream(request, Caller())) as events:
            async for event in self._bounded_stream(events, timeout_s):
                yield event

    async def chat(self, request: v1.ChatRequest, *, timeout_s: float | None = None) -> v1.ChatResponse:
        """See `InferenceClient.chat`."""
        return await self._bounded(self._service.chat(request, Caller()), timeout_s)

    async def chat_stream(
        self, request: v1.ChatStreamRequest, *, timeout_s: float | None = None
    ) -> AsyncGenerator[v1.ChatStreamResponse, None]:
        """See `InferenceClient.chat_stream`."""
        async with aclosing(self._service.chat_stream(request, Caller())) as events:
            async for event in self._bounded_stream(events, timeout_s):
                yield event

    async def score(self, request: v1.ScoreRequest, *, timeout_s: float | None = None) -> v1.ScoreResponse:
        """See `InferenceClient.score`."""
        return await self._bounded(self._service.score(request, Caller()), timeout_s)

    async def embed(self, request: v1.EmbedRequest, *, timeout_s: float | None = None) -> v1.EmbedResponse:
        """See `InferenceClient.embed`."""
        return await self._bounded(self._service.embed(request, Caller()), timeout_s)

    async def tokenize(self, request: v1.TokenizeRequest, *, timeout_s: float | None = None) -> v1.TokenizeResponse:
        """See `InferenceClient.tokenize`."""
        return await self._bounded(self._service.tokenize(request, Caller()), timeout_s)

    async def detokenize(
        self, request: v1.DetokenizeRequest, *, timeout_s: float | None = None
    ) -> v1.DetokenizeResponse:
        """See `InferenceClient.detokenize`."""
        return await self._bounded(self._service.detokenize(request, Caller()), timeout_s)

    async def abort(self, request: v1.AbortRequest, *, timeout_s: float | None = None) -> v1.AbortResponse:
        """See `InferenceClient.abort`."""
        return await self._bounded(self._service.abort(request, Caller()), timeout_s)

    async def get_server_info(
        self, request: v1.GetServerInfoRequest, *, timeout_s: float | None = None
    ) -> v1.GetServerInfoResponse:
        """See `InferenceClient.get_server_info`."""
        return await self._bounded(self._discovery.get_server_info(request), timeout_s)

    async def get_model_info(
        self, request: v1.GetModelInfoRequest, *, timeout_s: float | None = None
    ) -> v1.GetModelInfoResponse:
        """See `InferenceClient.get_model_info`."""
        return await self._bounded(self._discovery.get_model_info(request), timeout_s)

    async def get_load(self, request: v1.GetLoadRequest, *, timeout_s: float | None = None) -> v1.GetLoadResponse:
        """See `InferenceClient.get_load`."""
        return await self._bounded(self._discovery.get_load(request), timeout_s)

    async def aclose(self) -> None:
        """Nothing to give back: the engine belongs to whoever started it."""

    async def _bounded(self, answer: Awaitable[_Answer], timeout_s: float | None) -> _Answer:
        allowed_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            async with asyncio.timeout(allowed_s):
                return await answer
        except TimeoutError as error:
            raise _too_late(allowed_s) from error

    async def _bounded_stream(
        self, events: AsyncGenerator[_Answer, None], timeout_s: float | None
    ) -> AsyncGenerator[_Answer, None]:
        """Each wait is bounded by what is left: a timeout around the loop would strike whoever handles an event."""
        allowed_s = self._timeout_s if timeout_s is None else timeout_s
        deadline = None if allowed_s is None else asyncio.get_running_loop().time() + allowed_s
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    event = await anext(events)
            except TimeoutError as error:
                raise _too_late(allowed_s) from error
            except StopAsyncIteration:
                return
            yield event


def _too_late(allowed_s: float | None) -> DeadlineExceededError:
    return DeadlineExceededError(f"not answered within {allowed_s:g} s; allow more time")
