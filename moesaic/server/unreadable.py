"""Bytes that are no message: the call is refused in words, where gRPC would call it an unknown failure."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

if TYPE_CHECKING:
    _Handler = grpc.RpcMethodHandler[Any, Any]

__all__ = ["Unreadable", "UnreadableRequests"]

_PREFIX = "/moesaic."


@dataclass(frozen=True)
class Unreadable:
    """Stands in the place of a request."""

    reason: str


class UnreadableRequests(grpc.aio.ServerInterceptor):
    """Gives `Unreadable` to our methods in the place of requests that cannot be parsed."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "_Handler | None":
        """Replace the method's parser by one that does not raise."""
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith(_PREFIX):
            return handler

        kind = "unary_stream" if handler.response_streaming else "unary_unary"
        rebuilt: _Handler = getattr(grpc, f"{kind}_rpc_method_handler")(
            getattr(handler, kind),
            request_deserializer=_lenient(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )
        return rebuilt


def _lenient(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def parsed(raw: bytes) -> Any:
        try:
            return parse(raw)
        except DecodeError as error:
            return Unreadable(str(error))

    return parsed
