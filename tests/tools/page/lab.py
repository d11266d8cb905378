"""A lab on loopback: a server that answers with exactly the bytes that a test wants, sound HTTP or not.

A route is a function that gets the request and a `send`; what it sends is what goes over the wire. The server closes
the connection behind it, unless it is told to keep it open. `Lab.requests` has what was asked for.
"""

import contextlib
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from moesaic.tools.page import AddressPolicy, FetchOptions, PageFetcher, ScriptedResolver

__all__ = ["ENDLESS", "MOST_REQUESTS", "Lab", "Request", "Route", "Send", "answer", "fetcher_of", "lab", "page_of"]

ENDLESS = 100_000
"""How often a route repeats itself that never ends: far beyond what any bound of a test lets through."""

MOST_REQUESTS = 100
"""Requests that one connection serves, where it is kept open."""

_CLOSE_S = 60.0
_HEAD_BYTES = 2**20

Send = Callable[[bytes], None]


@dataclass(frozen=True)
class Request:
    """What a client sent."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


Route = Callable[[Request, Send], None]


@dataclass
class Lab:
    """A running server."""

    port: int
    routes: dict[str, Route]
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    keeps_open: bool = False
    """Whether connections stay open for further requests, also for a client that said it would close them."""
    stopping: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str = "/", host: str = "site.test") -> str:
        return f"http://{host}:{self.port}{path}"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def paths(self) -> list[str]:
        return [request.target for request in self.requests]


def answer(
    body: bytes | str = b"",
    *,
    status: str = "200 OK",
    type_: str | None = "text/html; charset=utf-8",
    **headers: str,
) -> Route:
    """A route that gives one sound answer; names of `headers` have hyphens where Python has underscores."""
    content = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}"]
    if type_ is not None:
        lines.append(f"Content-Type: {type_}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]

    def route(request: Request, send: Send) -> None:
        send(("\r\n".join(lines) + "\r\n\r\n").encode() + content)

    return route


def page_of(title: str, *paragraphs: str) -> str:
    """The source of an ordinary page, with a menu and a footer that are not its text."""
    text = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)
    return (
        f"<!doctype html><html><head><title>{title}</title></head><body><nav><a href='/'>Home</a><a href='/x'>Menu</a>"
        f"</nav><main><article><h1>{title}</h1>{text}</article></main><footer>Imprint</footer></body></html>"
    )


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        running: Lab = self.server.lab  # type: ignore[attr-defined]
        connection: socket.socket = self.request
        context: ssl.SSLContext | None = self.server.context  # type: ignore[attr-defined]
        connection.settimeout(_CLOSE_S)
        # Who refuses a certificate, or has read enough, closes the connection: that is what the tests are about.
        with contextlib.suppress(OSError, ValueError):
            if context is not None:
                connection = context.wrap_socket(connection, server_side=True)
            running.connections += 1
            with connection:
                for _ in range(MOST_REQUESTS if running.keeps_open else 1):
                    request = _read_request(connection)
                    running.requests.append(request)
                    route = running.routes.get(request.path, answer("not here", status="404 Not Found"))
                    route(request, connection.sendall)


def _read_request(connection: socket.socket) -> Request:
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _HEAD_BYTES:
        piece = connection.recv(65536)
        if not piece:
            raise ValueError("no request")
        head += piece
    head, _, body = head.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += connection.recv(65536)
    return Request(method, target, headers, body)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A route that fails must not do so silently: the test that used it sees no answer."""
        super().handle_error(request, client_address)


@contextlib.contextmanager
def lab(routes: dict[str, Route], *, context: ssl.SSLContext | None = None) -> Iterator[Lab]:
    """A server with these routes, by path; all others are answered with 404."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        running = Lab(server.server_address[1], routes)
        server.lab = running  # type: ignore[attr-defined]
        server.context = context  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield running
        finally:
            running.stopping.set()
            server.shutdown()
            thread.join(_CLOSE_S)


def fetcher_of(running: Lab, hosts: dict[str, list[list[str]]] | None = None, **given: Any) -> PageFetcher:
    """A fetcher to which the lab is a public server named site.test, and that has all other manners of the real one.

    What is `given` are fields of its options, or `certificates`, `transport`, `clock` and `sleep`.
    """
    names = {"site.test": [["127.0.0.1"]], "other.test": [["127.0.0.1"]], **(hosts or {})}
    others = {name: given.pop(name) for name in ("certificates", "transport", "clock", "sleep") if name in given}
    # Who sets no limit of his own has time: the machine may be busy.
    options = {"host_delay_s": 0.0, "timeout_s": 60.0, "reading_timeout_s": 60.0, "heeds_robots": False, **given}
    return PageFetcher(
        FetchOptions(**options),
        policy=AddressPolicy(exceptions=frozenset({running.address})),
        resolver=ScriptedResolver(names),
        **others,
    )
