"""Who may call: bearer tokens from a file, and the TLS files of a server."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import grpc

from moesaic.errors import InputError, UnauthenticatedError

__all__ = ["Tokens", "server_credentials"]

_MIN_TOKEN_CHARACTERS = 16


@dataclass(frozen=True)
class Tokens:
    """The tokens of a server; only their digests are kept.

    Attributes:
        principals: name of the credential, by the SHA-256 of its token.
    """

    principals: Mapping[bytes, str]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file with one `NAME TOKEN` in each line; empty lines and those that begin with `#` do not count.

        Raises `InputError` if the file cannot be read, or a line is malformed; no token is ever shown.
        """
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"tokens_file={path} cannot be read: {error}") from error

        principals: dict[bytes, str] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            if not line.strip() or line.startswith("#"):
                continue
            words = line.split()
            if len(words) != 2 or len(words[1]) < _MIN_TOKEN_CHARACTERS:
                raise InputError(
                    f"{path}, line {number}: write a name, a space and a token of at least {_MIN_TOKEN_CHARACTERS} "
                    "characters, such as one from `python -c 'import secrets; print(secrets.token_urlsafe(32))'`"
                )
            digest = _digest(words[1])
            if digest in principals:
                raise InputError(f"{path}, line {number}: the token is that of {principals[digest]!r} already")
            principals[digest] = words[0]
        if not principals:
            raise InputError(f"{path} has no token; write one `NAME TOKEN` in each line")
        return cls(principals)

    def principal(self, authorization: str | None) -> str:
        """Name of the credential in a call's metadata `authorization`.

        Raises `UnauthenticatedError` if there is none, or it is unknown.
        """
        if authorization is None:
            raise UnauthenticatedError("the call has no credential; send the metadata `authorization: Bearer TOKEN`")

        scheme, _, token = authorization.partition(" ")
        # Digests are compared, not tokens: how long it takes says nothing about the token.
        name = self.principals.get(_digest(token.strip()))
        if scheme.lower() != "bearer" or name is None:
            raise UnauthenticatedError(
                "the credential is unknown; send `authorization: Bearer TOKEN` with a valid token"
            )
        return name


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def server_credentials(certificate: Path, key: Path) -> grpc.ServerCredentials:
    """TLS credentials of a server.

    Raises `InputError` if a file cannot be read.
    """
    contents = []
    for name, path in (("tls_key", key), ("tls_certificate", certificate)):
        try:
            contents.append(path.read_bytes())
        except OSError as error:
            raise InputError(f"{name}={path} cannot be read: {error.strerror}") from error
    return grpc.ssl_server_credentials([(contents[0], contents[1])])
