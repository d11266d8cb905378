"""Where a server is and how calls reach it: what `AsyncClient` and `Client` share.

- Plain text is for this machine: a token goes over a Unix socket, a loopback address or TLS, and nowhere else.
- A loopback address is reached directly, whatever `http_proxy` says.
- Everything that belongs to one call (its deadline, metadata, retries and errors) is in `moesaic.client.call`.
"""

import ipaddress
import math
import re
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import grpc

from moesaic.client.call import Call
from moesaic.errors import InputError, ServiceError
from moesaic.v1.discovery_pb2_grpc import DiscoveryServiceStub
from moesaic.v1.inference_pb2_grpc import InferenceServiceStub

__all__ = ["MAX_MESSAGE_BYTES", "Connection", "Stub", "is_local"]

MAX_MESSAGE_BYTES = 64 * 2**20
"""Largest message that a client takes."""

_KEEPALIVE_S = 30
"""How often a connection with open calls is tried, so that a lost server is noticed while a model thinks."""

_KEEPALIVE_TIMEOUT_S = 10
_FIRST_RECONNECT_MS = 200
_LONGEST_RECONNECT_MS = 5000

_SCHEMES = re.compile(r"^(?:dns|ipv4|ipv6|passthrough):(?://[^/]*/)?")
_TOKEN = re.compile(r"[\x21-\x7e]+")


class Stub(InferenceServiceStub, DiscoveryServiceStub):
    """The methods of both services over one channel, synchronous or not."""

    def __init__(self, channel: Any) -> None:
        InferenceServiceStub.__init__(self, channel)
        DiscoveryServiceStub.__init__(self, channel)


class Connection:
    """What a client knows about its server, and every call's beginning.

    Args:
        target: `HOST:PORT`, or `unix:/path` of a socket.
        token: credential of every call. Over TCP to another machine it needs TLS.
        root_certificates: PEM file, or its content, by which the server's certificate is judged; turns TLS on.
        tls: encrypt; without `root_certificates`, by the authorities that gRPC trusts.
        timeout_s: longest time of a call, all its retries included, unless the call says otherwise.
        retries: attempts after the first one, where a server is busy or away. Streams are only tried again before
            their first event.

    Raises:
        InputError: a value is outside its range, or the token would travel unencrypted.
    """

    def __init__(
        self,
        target: str,
        *,
        token: str | None = None,
        root_certificates: Path | str | bytes | None = None,
        tls: bool = False,
        timeout_s: float = 60.0,
        retries: int = 3,
    ) -> None:
        if not target or target != target.strip():
            raise InputError(f"target={target!r} is no address: give HOST:PORT, or unix:/path of a socket")
        if not (math.isfinite(timeout_s) and timeout_s > 0):
            raise InputError(f"timeout_s={timeout_s!r} is not a time: give a number of seconds above 0")
        if retries < 0:
            raise InputError(f"retries={retries!r} is below 0: 0 tries once")
        if token is not None and not _TOKEN.fullmatch(token):
            raise InputError("the token is empty, or has blanks or other characters that no header can carry: check it")

        self.target = target
        self.timeout_s = timeout_s
        self._token = token
        self._retries = retries
        self._secure = tls or root_certificates is not None
        self._root_certificates = _certificates(root_certificates)
        self._closed = False
        if token is not None and not self._secure and not is_local(target):
            raise InputError(
                f"a token must not travel unencrypted to {target!r}: give root_certificates or tls=True, "
                "or reach the server through a tunnel on 127.0.0.1"
            )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.target!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Give the client itself: a connection cannot be copied, and what holds one (a chat model) often is."""
        return self

    def _open(self, module: ModuleType) -> Any:
        """A channel of `grpc` or of `grpc.aio`; it connects with its first call."""
        options = [
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.keepalive_time_ms", _KEEPALIVE_S * 1000),
            ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_S * 1000),
            ("grpc.http2.max_pings_without_data", 0),
            # Retries are ours: they must find a server that came back a moment ago.
            ("grpc.initial_reconnect_backoff_ms", _FIRST_RECONNECT_MS),
            ("grpc.max_reconnect_backoff_ms", _LONGEST_RECONNECT_MS),
            ("grpc.enable_http_proxy", 0 if is_local(self.target) else 1),
        ]
        if not self._secure:
            return module.insecure_channel(self.target, options=options)
        credentials = grpc.ssl_channel_credentials(self._root_certificates)
        return module.secure_channel(self.target, credentials, options=options)

    def _begin(self, timeout_s: float | None) -> Call:
        """A new call."""
        if self._closed:
            raise ServiceError(f"this client of {self.target!r} is closed: make a new one")
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        return Call(self.target, token=self._token, timeout_s=timeout_s, retries=self._retries)


def is_local(target: str) -> bool:
    """Whether everything that `target` names is on this machine."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    return all(_is_loopback(address) for address in _SCHEMES.sub("", target).split(","))


def _is_loopback(address: str) -> bool:
    host, _, port = address.rpartition(":")
    host = host if port.isdigit() and (host.count(":") == 0 or host.endswith("]")) else address
    host = host.strip("[]").lower()
    try:
        return host == "localhost" or ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _certificates(given: Path | str | bytes | None) -> bytes | None:
    if given is None:
        return None
    try:
        content = given if isinstance(given, bytes) else Path(given).read_bytes()
    except OSError as error:
        raise InputError(
            f"root_certificates={str(given)!r} cannot be read ({error.strerror}): give a PEM file"
        ) from error
    if b"-----BEGIN CERTIFICATE-----" not in content:
        raise InputError("root_certificates has no certificate in it: give a PEM file, or its content")
    return content
