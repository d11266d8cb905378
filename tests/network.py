"""A guard that refuses connections beyond this machine: Unix sockets and loopback addresses only.

It replaces the connecting methods of `socket.socket` and name resolution, so it sees every client written in Python.
Clients with their own sockets in C (gRPC, ZeroMQ) pass it by; they are given loopback addresses by their tests.
"""

import ipaddress
import socket
from collections.abc import Callable
from typing import Any

__all__ = ["LoopbackOnly", "OutsideNetworkError", "is_local"]

_METHODS = ("connect", "connect_ex", "sendto")


class OutsideNetworkError(RuntimeError):
    """A test tried to reach another machine."""


def is_local(address: object) -> bool:
    """Whether a socket address (a path, or a host with a port) stays on this machine."""
    if not isinstance(address, tuple) or not address:
        return isinstance(address, str | bytes)  # the path of a Unix socket
    host = address[0].decode() if isinstance(address[0], bytes) else address[0]
    if host in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return False


def _refuse(address: object) -> OutsideNetworkError:
    return OutsideNetworkError(
        f"a test tried to reach {address!r}: only Unix sockets and loopback addresses are allowed; "
        "use one of the doubles that the package ships, or a server on 127.0.0.1"
    )


class LoopbackOnly:
    """The guard; `install()` and `remove()` are idempotent."""

    def __init__(self) -> None:
        self._originals: dict[tuple[Any, str], Callable[..., Any]] = {}
        self._guards: dict[tuple[Any, str], Callable[..., Any]] = {}

    @property
    def installed(self) -> bool:
        """Whether every guarded function is still the guard's own."""
        return bool(self._guards) and all(
            getattr(owner, name) is guard for (owner, name), guard in self._guards.items()
        )

    def install(self) -> None:
        """Put the guard in front of the connecting functions."""
        if not self._guards:
            for name in _METHODS:
                self._replace(socket.socket, name, self._guarded_method(getattr(socket.socket, name)))
            self._replace(socket, "getaddrinfo", self._guarded_lookup(socket.getaddrinfo))

    def remove(self) -> None:
        """Put the original functions back."""
        for (owner, name), original in self._originals.items():
            setattr(owner, name, original)
        self._originals.clear()
        self._guards.clear()

    def _replace(self, owner: Any, name: str, guard: Callable[..., Any]) -> None:
        self._originals[owner, name] = getattr(owner, name)
        self._guards[owner, name] = guard
        setattr(owner, name, guard)

    @staticmethod
    def _guarded_method(original: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(self: socket.socket, *args: Any) -> Any:
            # The address is the last argument of each method. Families without hosts (netlink, …) are this machine's.
            if self.family in (socket.AF_INET, socket.AF_INET6) and not is_local(args[-1]):
                raise _refuse(args[-1])
            return original(self, *args)

        return guarded

    @staticmethod
    def _guarded_lookup(original: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(host: Any, *args: Any, **options: Any) -> Any:
            # A literal address needs no name server: asking for it reaches nobody.
            flags = options.get("flags", args[4] if len(args) > 4 else 0)
            if not flags & socket.AI_NUMERICHOST and not is_local((host,)):
                raise _refuse(host)
            return original(host, *args, **options)

        return guarded
