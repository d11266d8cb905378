"""The one table between the errors of Moesaic and the status of a gRPC call, read in both directions.

A server turns an error into a status with `google.rpc` details (`status_of`); a client turns it back into the same
class (`error_of`). So a caller meets one set of errors, whether the model runs in its own process or behind a network.

Every status carries an `ErrorInfo` with domain `moesaic` and one reason of the table; `BadRequest` names the field of a
request, `ResourceInfo` what was not found, `RetryInfo` how long to wait, `RequestInfo` the request in the server's log.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from moesaic import errors

__all__ = ["DOMAIN", "TABLE", "Row", "error_of", "retry_after_s", "row_of", "status_of"]

DOMAIN = "moesaic"
"""Domain of every reason."""

RETRY_AFTER_S = 0.5
"""What a server that is too busy, or not ready, asks a client to wait."""


class Row(NamedTuple):
    """How one kind of error travels."""

    kind: type[errors.MoesaicError]
    code: grpc.StatusCode
    reason: str
    retryable: bool = False
    """Whether the same call may succeed later."""


TABLE: tuple[Row, ...] = (
    Row(errors.ContextOverflowError, grpc.StatusCode.INVALID_ARGUMENT, "CONTEXT_OVERFLOW"),
    Row(errors.RequestError, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
    Row(errors.NotFoundError, grpc.StatusCode.NOT_FOUND, "NOT_FOUND"),
    Row(errors.InputError, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT"),
    Row(errors.UnauthenticatedError, grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"),
    Row(errors.PermissionDeniedError, grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"),
    Row(errors.DeadlineExceededError, grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
    Row(errors.EngineOverloadedError, grpc.StatusCode.UNAVAILABLE, "OVERLOADED", retryable=True),
    Row(errors.EngineDeadError, grpc.StatusCode.UNAVAILABLE, "ENGINE_DEAD", retryable=True),
    Row(errors.UnavailableError, grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE", retryable=True),
    Row(errors.UnsupportedFeatureError, grpc.StatusCode.UNIMPLEMENTED, "UNSUPPORTED_FEATURE"),
    Row(errors.EngineError, grpc.StatusCode.INTERNAL, "ENGINE_FAILED"),
    Row(errors.ServiceError, grpc.StatusCode.INTERNAL, "INTERNAL"),
    Row(errors.MoesaicError, grpc.StatusCode.INTERNAL, "INTERNAL"),
)
"""First match wins, from errors to rows; from a status, its reason decides, or else its code."""

_CODES: Mapping[grpc.StatusCode, type[errors.MoesaicError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.InputError,
    grpc.StatusCode.OUT_OF_RANGE: errors.InputError,
    grpc.StatusCode.UNAUTHENTICATED: errors.UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: errors.PermissionDeniedError,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceededError,
    grpc.StatusCode.UNAVAILABLE: errors.UnavailableError,
    grpc.StatusCode.UNIMPLEMENTED: errors.UnsupportedFeatureError,
}
"""For a status without our details: what gRPC itself says, or a proxy."""


def row_of(error: errors.MoesaicError) -> Row:
    """The table's row for an error."""
    return next(row for row in TABLE if isinstance(error, row.kind))


def status_of(error: errors.MoesaicError, request_id: str) -> status_pb2.Status:
    """The status that tells a client about `error`."""
    row = row_of(error)
    status = status_pb2.Status(code=row.code.value[0], message=str(error))
    _attach(status, error_details_pb2.ErrorInfo(domain=DOMAIN, reason=row.reason))
    _attach(status, error_details_pb2.RequestInfo(request_id=request_id))
    if isinstance(error, errors.RequestError):
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=str(error))
        _attach(status, error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, errors.NotFoundError):
        _attach(status, error_details_pb2.ResourceInfo(resource_type=error.kind, resource_name=error.name))
    if row.retryable:
        wait_s = getattr(error, "retry_after_s", None) or RETRY_AFTER_S
        info = error_details_pb2.RetryInfo()
        info.retry_delay.FromNanoseconds(math.ceil(wait_s * 1e9))
        _attach(status, info)
    return status


def error_of(code: grpc.StatusCode, message: str, details: bytes | None) -> errors.MoesaicError:
    """The error that a status tells about.

    Args:
        code: the call's status code.
        message: its text.
        details: the trailing metadata `grpc-status-details-bin`, None if there is none.
    """
    parts = _Details.read(details)
    kind = next((row.kind for row in TABLE if row.reason == parts.reason), None)
    kind = kind or _CODES.get(code, errors.ServiceError)
    if issubclass(kind, errors.RequestError):
        return kind(parts.field, message.removeprefix(f"{parts.field}: "))
    if issubclass(kind, errors.NotFoundError):
        return kind(parts.resource[0], parts.resource[1], message.split("; ", 1)[-1])
    if issubclass(kind, errors.ServiceError):
        text = message if parts.reason else f"{message or 'no reason given'} ({code.name})"
        return kind(text, request_id=parts.request_id, retry_after_s=parts.retry_after_s)
    return kind(message)


def retry_after_s(details: bytes | None) -> float | None:
    """Seconds that a status asks to wait before the same call is made again, None if it does not say."""
    return _Details.read(details).retry_after_s


class _Details(NamedTuple):
    """What the details of a status say."""

    reason: str | None = None
    field: str = "request"
    resource: tuple[str, str] = ("resource", "")
    request_id: str | None = None
    retry_after_s: float | None = None

    @classmethod
    def read(cls, raw: bytes | None) -> "_Details":
        found = cls()
        status = status_pb2.Status()
        try:
            status.ParseFromString(raw or b"")
        except DecodeError:  # what a foreign proxy put there is not worth failing for: the code still tells
            return found
        for detail in status.details:
            found = found._with(detail)
        return found

    def _with(self, detail: AnyMessage) -> "_Details":
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return self._replace(reason=info.reason if info.domain == DOMAIN else None)
        request = error_details_pb2.RequestInfo()
        if detail.Unpack(request):
            return self._replace(request_id=request.request_id)
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad) and bad.field_violations:
            return self._replace(field=bad.field_violations[0].field)
        resource = error_details_pb2.ResourceInfo()
        if detail.Unpack(resource):
            return self._replace(resource=(resource.resource_type, resource.resource_name))
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(retry):
            return self._replace(retry_after_s=retry.retry_delay.ToNanoseconds() / 1e9)
        return self


def _attach(status: status_pb2.Status, message: Message) -> None:
    status.details.add().Pack(message)
