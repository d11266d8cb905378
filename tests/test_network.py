"""The guard that keeps tests on this machine refuses what it should, and nothing else."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from tests.environment import clean_environment
from tests.network import LoopbackOnly, OutsideNetworkError, is_local

# Addresses set aside for documentation (RFC 5737, RFC 3849): nobody answers there if the guard should fail.
OUTSIDE_V4 = ("192.0.2.1", 9)
OUTSIDE_V6 = ("2001:db8::1", 9, 0, 0)


@pytest.mark.parametrize(
    "address", ["/run/any.sock", b"\0abstract", ("127.0.0.1", 1), ("127.8.8.8", 1), ("::1", 1), ("localhost", 1)]
)
def test_addresses_of_this_machine_are_local(address: object) -> None:
    assert is_local(address)


@pytest.mark.parametrize(
    "address", [OUTSIDE_V4, OUTSIDE_V6, ("example.org", 443), ("10.0.0.1", 1), ("localhost.example.org", 1), (), None]
)
def test_other_addresses_are_not(address: object) -> None:
    assert not is_local(address)


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, OUTSIDE_V4), (socket.AF_INET6, OUTSIDE_V6)])
def test_connecting_outside_is_refused(family: int, address: tuple[object, ...]) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as stream, socket.socket(family, socket.SOCK_DGRAM) as datagram:
        for attempt in (stream.connect, stream.connect_ex, datagram.connect):
            with pytest.raises(OutsideNetworkError, match="loopback"):
                attempt(address)
        with pytest.raises(OutsideNetworkError, match=str(address[0])):
            datagram.sendto(b"x", address)


def test_names_are_not_looked_up() -> None:
    with pytest.raises(OutsideNetworkError, match=r"example\.org"):
        socket.create_connection(("example.org", 443))


async def test_asyncio_is_guarded_too() -> None:
    with pytest.raises(OutsideNetworkError):
        await asyncio.open_connection(*OUTSIDE_V4)


def test_loopback_and_unix_sockets_work(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass
    path = os.path.relpath(tmp_path / "s")  # the path of a Unix socket may have 107 bytes
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        server.listen()
        client.connect(path)


def test_the_guard_can_be_put_in_place_twice_and_taken_away() -> None:
    before = socket.socket.connect
    second = LoopbackOnly()
    second.install()
    second.install()
    assert second.installed
    second.remove()
    assert socket.socket.connect is before


def test_a_guard_that_was_replaced_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    second = LoopbackOnly()
    second.install()
    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "connect", print)
        assert not second.installed
    second.remove()


def test_the_environment_is_known() -> None:
    given = {
        "HTTPS_PROXY": "proxy",
        "no_proxy": "*",
        "HF_TOKEN": "secret",
        "MOESAIC_X": "1",
        "PATH": "/bin",
        "HF_HUB_OFFLINE": "0",
    }
    cleaned = clean_environment(given, "cache")
    assert cleaned["PATH"] == "/bin"
    assert cleaned["HF_HUB_OFFLINE"] == os.environ["HF_HUB_OFFLINE"] == "1"
    assert cleaned["XDG_CACHE_HOME"] == "cache"
    assert cleaned["MPLCONFIGDIR"].startswith("cache")
    assert not {"HTTPS_PROXY", "no_proxy", "HF_TOKEN", "MOESAIC_X"} & cleaned.keys()
