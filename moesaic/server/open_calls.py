"""`OpenCalls`: the requests in flight, by caller and name, so that each caller aborts only what is its own."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from moesaic.errors import EngineOverloadedError, RequestError, UnavailableError

__all__ = ["Caller", "OpenCall", "OpenCalls"]

_MAX_REQUEST_ID_CHARACTERS = 128


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks, and what it calls this request."""

    principal: str = "local"
    """Name of the credential; all who need none are one."""
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    """From the call's metadata, or a new one."""


@dataclass(kw_only=True)
class OpenCall:
    """One request in flight."""

    request_id: str
    """As its caller calls it."""
    engine_id: str
    """As the engine calls it: unique among all callers."""
    drained: bool = False
    """Whether the server ends it because it shuts down."""


class OpenCalls:
    """All requests in flight; bounded, and closed while the server drains.

    Args:
        max_open: most requests in flight.
    """

    def __init__(self, max_open: int) -> None:
        self._max_open = max_open
        self._open: dict[tuple[str, str], OpenCall] = {}
        self.draining = False

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[OpenCall]:
        return iter(list(self._open.values()))

    @contextmanager
    def admitted(self, caller: Caller, request_id: str | None = None) -> Iterator[OpenCall]:
        """Have a request in flight for the block; empty takes the name of its call, None is for what cannot be aborted.

        Raises:
            UnavailableError: the server drains.
            EngineOverloadedError: too many requests are in flight.
            RequestError: the name is too long, or in flight already.
        """
        name = uuid.uuid4().hex if request_id is None else request_id or caller.request_id
        if self.draining:
            raise UnavailableError("the server is shutting down; ask another one, or this one again later")
        if len(self._open) >= self._max_open:
            raise EngineOverloadedError(f"{self._max_open} requests are open, as many as allowed; try again later")
        if len(name) > _MAX_REQUEST_ID_CHARACTERS or not name.isprintable():
            shown = repr(name[:40])
            raise RequestError("request_id", f"{shown} is not 1 to {_MAX_REQUEST_ID_CHARACTERS} printable characters")
        key = (caller.principal, name)
        if key in self._open:
            raise RequestError("request_id", f"{name!r} is in flight already; names are used once")

        call = self._open[key] = OpenCall(request_id=name, engine_id=uuid.uuid4().hex)
        try:
            yield call
        finally:
            del self._open[key]

    def find(self, caller: Caller, request_id: str) -> OpenCall | None:
        """The caller's own request of that name, if it is in flight."""
        return self._open.get((caller.principal, request_id))
