"""One call over all its attempts: metadata, deadline, retries and errors, the same for both clients.

- The deadline covers everything: each attempt gets the time that is left, and no pause is begun that would outlast it.
- A call is tried again only where the server said, or gRPC found, that it was busy or away
  (`retryable` in `moesaic.client.status`). The pause is what the server asks for, plus an exponential, jittered one.
- All attempts carry one `x-request-id`, so that the server's log tells one story.
"""

import random
import time
import uuid
from collections.abc import Iterable
from typing import Protocol

import grpc

from moesaic import errors
from moesaic.client.status import error_of, retry_after_s, row_of

__all__ = ["Call", "FailedCall"]

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_DETAILS = "grpc-status-details-bin"


class FailedCall(Protocol):
    """What `grpc.RpcError` offers, raised by either kind of channel."""

    def code(self) -> grpc.StatusCode:
        """Give the status code."""

    def details(self) -> str | None:
        """Give its text."""

    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """Give what came with it."""


class Call:
    """What is sent with each attempt of a call, how long it may take, and whether there is another one.

    Attributes:
        request_id: name of the call in the server's log.
        metadata: what each attempt carries.
    """

    def __init__(self, target: str, *, token: str | None, timeout_s: float, retries: int) -> None:
        self.request_id = uuid.uuid4().hex
        self.metadata: tuple[tuple[str, str], ...] = (("x-request-id", self.request_id),)
        if token is not None:
            self.metadata += (("authorization", f"Bearer {token}"),)
        self._target = target
        self._timeout_s = timeout_s
        self._ends = time.monotonic() + timeout_s
        self._retries_left = retries
        self._pause_s = _FIRST_PAUSE_S

    def remaining_s(self) -> float:
        """Seconds until the deadline; raises `DeadlineExceededError` where there are none."""
        left = self._ends - time.monotonic()
        if not left > 0:
            raise self._too_late()
        return left

    def pause_s(self, failed: FailedCall, *, begun: bool = False) -> float:
        """Seconds to wait before the next attempt.

        Args:
            failed: how the last attempt ended.
            begun: whether part of the answer has been given away, so that there is no other attempt.

        Raises:
            MoesaicError: there is none, for this reason.
        """
        raw = _details(failed)
        error = self._error(failed.code(), failed.details() or "", raw)
        jittered = self._pause_s * random.uniform(0.5, 1.0)
        pause_s = (retry_after_s(raw) or 0.0) + jittered
        out_of_time = pause_s >= self._ends - time.monotonic()
        if begun or self._retries_left == 0 or not row_of(error).retryable or out_of_time:
            raise error from None

        self._retries_left -= 1
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        return pause_s

    def incomplete(self) -> errors.ServiceError:
        """The error of a stream that ended without saying so."""
        return errors.ServiceError(
            "the stream ended without its last event, so the answer is not complete: ask again",
            request_id=self.request_id,
        )

    def cancelled(self) -> errors.ServiceError:
        """The error of a call that ended under its caller."""
        return errors.ServiceError(
            "the call was cancelled before its end: this client was closed, or something on the way gave it up",
            request_id=self.request_id,
        )

    def _error(self, code: grpc.StatusCode, message: str, raw: bytes | None) -> errors.MoesaicError:
        if raw is not None:
            return error_of(code, message, raw)
        # No details: the server's own gRPC speaks, ours, or something between them.
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return self._too_late()
        if code is grpc.StatusCode.CANCELLED:
            return self.cancelled()
        if code is grpc.StatusCode.UNAVAILABLE:
            return errors.UnavailableError(
                f"{self._target!r} does not answer ({message}): check that the server runs there",
                request_id=self.request_id,
            )
        return error_of(code, message, None)

    def _too_late(self) -> errors.DeadlineExceededError:
        return errors.DeadlineExceededError(
            f"no complete answer within {self._timeout_s:g} s: give the call more time (timeout_s), or ask for less",
            request_id=self.request_id,
        )


def _details(failed: FailedCall) -> bytes | None:
    values = (value for key, value in failed.trailing_metadata() or () if key == _DETAILS)
    value = next(values, None)
    return value.encode() if isinstance(value, str) else value
