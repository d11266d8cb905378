"""The gRPC servicers: metadata in, status out; all else is `InferenceService` and `DiscoveryService`."""

import logging
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.rpc import status_pb2

from moesaic import v1
from moesaic.client.status import status_of
from moesaic.errors import InputError, MoesaicError, RequestError, ServiceError
from moesaic.server.credentials import Tokens
from moesaic.server.discovery import DiscoveryService
from moesaic.server.inference import InferenceService
from moesaic.server.observation import CallRecord, Observation
from moesaic.server.open_calls import Caller
from moesaic.server.unreadable import Unreadable
from moesaic.v1 import discovery_pb2_grpc, inference_pb2_grpc

__all__ = ["Calls", "DiscoveryServicer", "InferenceServicer"]

_LOGGER = logging.getLogger("moesaic.server")
_STATUS_KEY = "grpc-status-details-bin"
_MAX_REQUEST_ID_CHARACTERS = 128
_MAX_MESSAGE_BYTES = 1000
"""Longest text of a status: it travels in headers, up to three times as long, and these end at 8 KiB."""

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_Context = grpc.aio.ServicerContext[Any, Any]


class Calls:
    """What every call has in common: a credential, a name, an outcome.

    Args:
        tokens: who may call; None lets everyone.
        observation: counts and logs.

    Attributes:
        untold: calls whose callers may not have heard of their end: a status is on its way for a while.
    """

    def __init__(self, tokens: Tokens | None, observation: Observation) -> None:
        self.untold = 0
        self._tokens = tokens
        self._observation = observation

    async def unary(
        self,
        method: str,
        answer: Callable[[_Request, Caller], Awaitable[_Response]],
        request: _Request,
        context: _Context,
    ) -> _Response:
        """Answer a call."""
        async with self._call(method, request, context) as (record, caller):
            response = await answer(request, caller)
            _note_usage(record, response)
        return response

    async def stream(
        self,
        method: str,
        answer: Callable[[_Request, Caller], AsyncGenerator[_Response, None]],
        request: _Request,
        context: _Context,
    ) -> None:
        """Answer a call with a stream."""
        async with (
            self._call(method, request, context) as (record, caller),
            aclosing(answer(request, caller)) as events,
        ):
            async for event in events:
                if record.first_s is None:
                    record.first_s = time.perf_counter() - record.began
                    record.prompt_tokens = event.started.prompt_tokens  # type: ignore[attr-defined]
                await context.write(event)
                if event.HasField("finished"):  # type: ignore[attr-defined]
                    _note_usage(record, event.finished)  # type: ignore[attr-defined]

    @asynccontextmanager
    async def _call(
        self, method: str, request: object, context: _Context
    ) -> AsyncGenerator[tuple[CallRecord, Caller], None]:
        """Have a call for the block; an error of the block becomes its status, a cancelled one stays cancelled."""
        record = CallRecord(method=method)
        self.untold += 1
        context.add_done_callback(self._told)  # type: ignore[arg-type]  # the stubs name a class for any callable
        try:
            caller = await self._caller(record, context)
            if isinstance(request, Unreadable):
                raise InputError(f"the request is not a message of this method ({request.reason}); see moesaic.v1")
            yield record, caller
        except Exception as error:
            status = _status(error, record.request_id)
            code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
            self._observation.ended(record, code.name)
            await context.abort(code, status.message, ((_STATUS_KEY, status.SerializeToString()),))
        except BaseException:  # cancelled, or the process ends
            left_s = context.time_remaining()
            self._observation.ended(record, "CANCELLED" if left_s is None or left_s > 0 else "DEADLINE_EXCEEDED")
            raise
        else:
            self._observation.ended(record, "OK")

    def _told(self, context: _Context) -> None:
        self.untold -= 1

    async def _caller(self, record: CallRecord, context: _Context) -> Caller:
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        request_id = metadata.get("x-request-id", "")
        printable = request_id.isascii() and request_id.isprintable()
        usable = 0 < len(request_id) <= _MAX_REQUEST_ID_CHARACTERS and printable
        record.request_id = request_id if usable else uuid.uuid4().hex
        await context.send_initial_metadata((("x-request-id", record.request_id),))
        if request_id and not usable:
            raise RequestError("x-request-id", f"is not 1 to {_MAX_REQUEST_ID_CHARACTERS} printable characters")
        record.principal = "local" if self._tokens is None else self._tokens.principal(metadata.get("authorization"))
        return Caller(principal=record.principal, request_id=record.request_id)


def _status(error: Exception, request_id: str) -> status_pb2.Status:
    """The status of an error; what we did not raise on purpose is logged, and told to nobody."""
    if not isinstance(error, MoesaicError):
        _LOGGER.error("unexpected failure", exc_info=error, extra={"facts": {"request_id": request_id}})
        error = ServiceError(f"the server failed unexpectedly; its log knows more, under {request_id}")
    if isinstance(error, RequestError):
        error = type(error)(error.field, _short(str(error).removeprefix(f"{error.field}: ")))
    status = status_of(error, request_id)
    status.message = _short(status.message)
    return status


def _short(text: str) -> str:
    return text.encode(errors="replace")[:_MAX_MESSAGE_BYTES].decode(errors="ignore")


def _note_usage(record: CallRecord, message: Any) -> None:
    usage = getattr(message, "usage", None)
    if usage is not None:
        record.prompt_tokens, record.completion_tokens = usage.prompt_tokens, usage.completion_tokens


class InferenceServicer(inference_pb2_grpc.InferenceServiceServicer):
    """`InferenceService` on the wire."""

    def __init__(self, service: InferenceService, calls: Calls) -> None:
        self._service = service
        self._calls = calls

    async def Generate(self, request: v1.GenerateRequest, context: _Context) -> v1.GenerateResponse:  # noqa: N802
        """See inference.proto, as for all that follow."""
        return await self._calls.unary("Generate", self._service.generate, request, context)

    async def GenerateStream(self, request: v1.GenerateStreamRequest, context: _Context) -> None:  # noqa: D102, N802
        await self._calls.stream("GenerateStream", self._service.generate_stream, request, context)

    async def Chat(self, request: v1.ChatRequest, context: _Context) -> v1.ChatResponse:  # noqa: D102, N802
        return await self._calls.unary("Chat", self._service.chat, request, context)

    async def ChatStream(self, request: v1.ChatStreamRequest, context: _Context) -> None:  # noqa: D102, N802
        await self._calls.stream("ChatStream", self._service.chat_stream, request, context)

    async def Score(self, request: v1.ScoreRequest, context: _Context) -> v1.ScoreResponse:  # noqa: D102, N802
        return await self._calls.unary("Score", self._service.score, request, context)

    async def Embed(self, request: v1.EmbedRequest, context: _Context) -> v1.EmbedResponse:  # noqa: D102, N802
        return await self._calls.unary("Embed", self._service.embed, request, context)

    async def Tokenize(self, request: v1.TokenizeRequest, context: _Context) -> v1.TokenizeResponse:  # noqa: D102, N802
        return await self._calls.unary("Tokenize", self._service.tokenize, request, context)

    async def Detokenize(  # noqa: D102, N802
        self, request: v1.DetokenizeRequest, context: _Context
    ) -> v1.DetokenizeResponse:
        return await self._calls.unary("Detokenize", self._service.detokenize, request, context)

    async def Abort(self, request: v1.AbortRequest, context: _Context) -> v1.AbortResponse:  # noqa: D102, N802
        return await self._calls.unary("Abort", self._service.abort, request, context)


class DiscoveryServicer(discovery_pb2_grpc.DiscoveryServiceServicer):
    """`DiscoveryService` on the wire."""

    def __init__(self, service: DiscoveryService, calls: Calls) -> None:
        self._service = service
        self._calls = calls

    async def GetServerInfo(  # noqa: N802
        self, request: v1.GetServerInfoRequest, context: _Context
    ) -> v1.GetServerInfoResponse:
        """See discovery.proto, as for all that follow."""
        return await self._calls.unary("GetServerInfo", _alone(self._service.get_server_info), request, context)

    async def GetModelInfo(  # noqa: D102, N802
        self, request: v1.GetModelInfoRequest, context: _Context
    ) -> v1.GetModelInfoResponse:
        return await self._calls.unary("GetModelInfo", _alone(self._service.get_model_info), request, context)

    async def GetLoad(self, request: v1.GetLoadRequest, context: _Context) -> v1.GetLoadResponse:  # noqa: D102, N802
        return await self._calls.unary("GetLoad", _alone(self._service.get_load), request, context)


def _alone(answer: Callable[[_Request], Awaitable[_Response]]) -> Callable[[_Request, Caller], Awaitable[_Response]]:
    """A method for which it does not matter who calls."""
    return lambda request, caller: answer(request)
