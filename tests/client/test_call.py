"""What one call does over its attempts, without a network."""

import re
from types import SimpleNamespace

import grpc
import pytest

from moesaic import errors
from moesaic.client.call import Call
from moesaic.client.status import status_of


class Failed:
    """A failed call, as gRPC would raise it."""

    def __init__(self, code: grpc.StatusCode, message: str = "", raw: bytes | str | None = None) -> None:
        self._code, self._message, self._raw = code, message, raw

    @classmethod
    def by(cls, error: errors.MoesaicError) -> "Failed":
        status = status_of(error, "r1")
        code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
        return cls(code, status.message, status.SerializeToString())

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._message

    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...] | None:
        return None if self._raw is None else (("other", "x"), ("grpc-status-details-bin", self._raw))


BUSY = Failed.by(errors.EngineOverloadedError("the queue is full"))
AWAY = Failed(grpc.StatusCode.UNAVAILABLE, "connection refused")


def call(*, timeout_s: float = 60.0, retries: int = 3, token: str | None = None) -> Call:
    return Call("127.0.0.1:1", token=token, timeout_s=timeout_s, retries=retries)


def test_each_call_has_its_own_name_and_the_token() -> None:
    first, second = call(token="secret"), call()
    assert first.metadata == (("x-request-id", first.request_id), ("authorization", "Bearer secret"))
    assert second.metadata == (("x-request-id", second.request_id),)
    assert first.request_id != second.request_id
    assert re.fullmatch(r"[0-9a-f]{32}", first.request_id)


def test_pauses_grow_and_are_jittered_up_to_a_bound() -> None:
    patient = call(timeout_s=1e6, retries=12)
    pauses = [patient.pause_s(AWAY) for _ in range(12)]
    for rank, pause_s in enumerate(pauses):
        longest = min(0.1 * 2**rank, 5.0)
        assert longest / 2 <= pause_s <= longest
    assert len({round(pause_s, 6) for pause_s in (call().pause_s(AWAY) for _ in range(20))}) > 10


def test_the_server_says_how_long_to_wait_at_least() -> None:
    draining = Failed.by(errors.UnavailableError("shutting down", retry_after_s=7.5))
    assert 7.55 <= call().pause_s(draining) <= 7.6
    assert 0.55 <= call().pause_s(BUSY) <= 0.6


def test_retries_end() -> None:
    twice = call(retries=2)
    twice.pause_s(BUSY)
    twice.pause_s(BUSY)
    with pytest.raises(errors.EngineOverloadedError, match="the queue is full"):
        twice.pause_s(BUSY)


@pytest.mark.parametrize(
    "error",
    [
        errors.RequestError("sampling.top_p", "2 is not a number above 0"),
        errors.ContextOverflowError("prompt", "too long"),
        errors.NotFoundError("model", "big", "served is tiny"),
        errors.UnauthenticatedError("no credential"),
        errors.PermissionDeniedError("not yours"),
        errors.UnsupportedFeatureError("no encoder"),
        errors.EngineError("the engine is not ready"),
        errors.ServiceError("unexpected"),
        errors.DeadlineExceededError("late"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_would_fail_again_is_not_tried_again(error: errors.MoesaicError) -> None:
    with pytest.raises(type(error)) as raised:
        call().pause_s(Failed.by(error))
    assert str(raised.value) == str(error)


def test_what_was_begun_is_not_tried_again() -> None:
    with pytest.raises(errors.EngineOverloadedError):
        call().pause_s(BUSY, begun=True)


def test_no_pause_outlasts_the_deadline() -> None:
    with pytest.raises(errors.EngineOverloadedError):
        call(timeout_s=0.4).pause_s(BUSY)


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan")])
def test_a_deadline_that_has_passed_starts_nothing(timeout_s: float) -> None:
    with pytest.raises(errors.DeadlineExceededError, match="timeout_s"):
        call(timeout_s=timeout_s).remaining_s()


def test_time_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("moesaic.client.call.time", SimpleNamespace(monotonic=lambda: now))
    some = call(timeout_s=5.0)
    assert some.remaining_s() == 5.0
    now += 4.5
    assert some.remaining_s() == 0.5
    now += 0.5
    with pytest.raises(errors.DeadlineExceededError, match="within 5 s"):
        some.remaining_s()


@pytest.mark.parametrize(
    ("failed", "kind", "parts"),
    [
        (AWAY, errors.UnavailableError, ["'127.0.0.1:1'", "connection refused", "check that the server runs"]),
        (Failed(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"), errors.DeadlineExceededError, ["60 s"]),
        (Failed(grpc.StatusCode.CANCELLED, "Channel closed!"), errors.ServiceError, ["cancelled", "closed"]),
        (Failed(grpc.StatusCode.RESOURCE_EXHAUSTED, "too large"), errors.ServiceError, ["too large", "RESOURCE"]),
        (Failed(grpc.StatusCode.INTERNAL, "broken", "no protobuf"), errors.ServiceError, ["broken", "INTERNAL"]),
    ],
    ids=["away", "late", "cancelled", "large", "foreign details"],
)
def test_what_grpc_itself_says_is_put_into_words(failed: Failed, kind: type[Exception], parts: list[str]) -> None:
    with pytest.raises(kind) as raised:
        call(retries=0).pause_s(failed)
    assert type(raised.value) is kind
    assert [part for part in parts if part not in str(raised.value)] == []
