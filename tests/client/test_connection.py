"""What a client accepts as a server's address, and where a token may go."""

from pathlib import Path
from typing import Any

import pytest

from moesaic.client import AsyncClient, Client
from moesaic.client.connection import Connection, is_local
from moesaic.errors import InputError

PEM = b"-----BEGIN CERTIFICATE-----\nMAo=\n-----END CERTIFICATE-----\n"

LOCAL = [
    "127.0.0.1:8080",
    "127.8.9.10:1",
    "localhost:8080",
    "LOCALHOST:8080",
    "[::1]:8080",
    "::1",
    "127.0.0.1",
    "unix:/run/moesaic.sock",
    "unix:relative.sock",
    "unix-abstract:moesaic",
    "dns:///localhost:8080",
    "dns:127.0.0.1:8080",
    "ipv4:127.0.0.1:8080,127.0.0.2:8080",
    "ipv6:[::1]:8080",
]
FAR = [
    "10.0.0.1:8080",
    "0.0.0.0:8080",
    "example.org:8080",
    "localhost.example.org:8080",
    "127.0.0.1.example.org:8080",
    "[2001:db8::1]:8080",
    "2001:db8::1",
    "dns:///example.org:8080",
    "dns://127.0.0.1/example.org:8080",
    "ipv4:127.0.0.1:8080,10.0.0.1:8080",
    "example.org",
]


@pytest.mark.parametrize("target", LOCAL)
def test_this_machine_is_known(target: str) -> None:
    assert is_local(target)
    Connection(target, token="secret")


@pytest.mark.parametrize("target", FAR)
@pytest.mark.parametrize("kind", [AsyncClient, Client])
def test_a_token_does_not_travel_in_the_clear(kind: type[Connection], target: str) -> None:
    assert not is_local(target)
    with pytest.raises(InputError) as raised:
        kind(target, token="secret")
    assert target in str(raised.value)
    assert "root_certificates" in str(raised.value)
    assert "secret" not in str(raised.value)
    kind(target)
    kind(target, token="secret", tls=True)
    kind(target, token="secret", root_certificates=PEM)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"target": ""}, "HOST:PORT"),
        ({"target": " 127.0.0.1:1"}, "HOST:PORT"),
        ({"timeout_s": 0.0}, "timeout_s=0.0"),
        ({"timeout_s": float("inf")}, "timeout_s=inf"),
        ({"timeout_s": float("nan")}, "timeout_s=nan"),
        ({"retries": -1}, "retries=-1"),
        ({"token": ""}, "token"),
        ({"token": "two words"}, "token"),
        ({"token": "line\n"}, "token"),
        ({"token": "密钥"}, "token"),
        ({"root_certificates": b"nothing"}, "PEM"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_refused_at_once(options: dict[str, Any], part: str) -> None:
    with pytest.raises(InputError, match=part):
        Connection(**{"target": "127.0.0.1:1"} | options)


def test_certificates_come_from_a_file_or_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    with pytest.raises(InputError, match=r"ca\.pem.*cannot be read"):
        Connection("127.0.0.1:1", root_certificates=path)
    path.write_bytes(PEM)
    for given in (path, str(path), PEM):
        assert Connection("127.0.0.1:1", root_certificates=given)._root_certificates == PEM


def test_a_client_does_not_show_its_token() -> None:
    assert repr(Client("127.0.0.1:1", token="secret")) == "Client('127.0.0.1:1')"
    assert repr(AsyncClient("127.0.0.1:1", token="secret")) == "AsyncClient('127.0.0.1:1')"
