"""`Served`: how a LangChain class reaches its model; the fields that chat models and embeddings share.

Two ways in: the address of a server (its clients are opened by the first call), or a client that is there already, such
as `moesaic.server.InProcessClient`.
"""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

from langchain_core.utils import from_env, secret_from_env
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, PrivateAttr, SecretStr

from moesaic.chains.blocking_client import BlockingClient
from moesaic.client import AsyncClient, Client, InferenceClient
from moesaic.errors import InputError

__all__ = ["Served"]


class Served(BaseModel):
    """What every class over a served model has."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    target: str | None = Field(default_factory=from_env("MOESAIC_TARGET", default=None))
    """`HOST:PORT` of the server, or `unix:/path` of its socket. Not given: the variable MOESAIC_TARGET."""
    token: SecretStr | None = Field(
        validation_alias=AliasChoices("token", "api_key"),
        default_factory=secret_from_env("MOESAIC_TOKEN", default=None),
    )
    """Credential. Not given: the variable MOESAIC_TOKEN. Also called `api_key`."""
    root_certificates: Path | None = None
    """PEM file by which the server's certificate is judged; turns TLS on."""
    model: str = ""
    """Name of the model. Empty: the one that is served."""
    timeout_s: float = Field(default=60.0, validation_alias=AliasChoices("timeout_s", "timeout"), gt=0)
    """Longest time of a call in seconds, all retries included. Also called `timeout`."""
    max_retries: int = Field(default=3, ge=0)
    """Attempts after the first one, where the server is busy or away."""
    client: Any = Field(default=None, exclude=True, repr=False)
    """An `InferenceClient` to ask instead of a server at `target`."""

    _async: InferenceClient | None = PrivateAttr(default=None)
    _sync: Client | BlockingClient | None = PrivateAttr(default=None)

    def model_post_init(self, context: Any, /) -> None:
        """Make the clients; one that was given belongs to the loop that runs now."""
        if self.client is not None:
            loop = None
            with suppress(RuntimeError):
                loop = asyncio.get_running_loop()
            self._async, self._sync = self.client, BlockingClient(self.client, loop)
            return
        if self.target is None:
            raise InputError("no server is named: give target, the variable MOESAIC_TARGET, or a client")

        connection: dict[str, Any] = {
            "token": None if self.token is None else self.token.get_secret_value(),
            "root_certificates": self.root_certificates,
            "timeout_s": self.timeout_s,
            "retries": self.max_retries,
        }
        self._async, self._sync = AsyncClient(self.target, **connection), Client(self.target, **connection)

    @property
    def _asynchronous(self) -> InferenceClient:
        """The client for coroutines; it connects with its first call."""
        assert self._async is not None
        return self._async

    @property
    def _synchronous(self) -> Client | BlockingClient:
        """The client for plain functions; it connects with its first call."""
        assert self._sync is not None
        return self._sync
