"""The model that a command asks: a server, or an artifact in this process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from moesaic.errors import InputError

if TYPE_CHECKING:
    from moesaic.client import InferenceClient

__all__ = ["DEFAULT_TARGET", "ModelPlace", "opened_client", "read_token"]

DEFAULT_TARGET = "127.0.0.1:50051"
"""Where a server is looked for if nothing else is said."""


@dataclass(frozen=True, kw_only=True)
class ModelPlace:
    """Where the model is: at `target`, or in the folder `model`.

    Raises:
        InputError: both are given, or a token for a model in this process.
    """

    target: str | None = None
    model: Path | None = None
    token: str | None = None
    root_certificates: Path | None = None
    engine: str = "auto"

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        if self.model is not None and self.target is not None:
            raise InputError(f"target={self.target!r} and model={str(self.model)!r} exclude each other: give one")

        if self.model is not None and (self.token is not None or self.root_certificates is not None):
            raise InputError("token_file and root_certificates are for a server at --target: leave them out")


@asynccontextmanager
async def opened_client(place: ModelPlace) -> AsyncIterator["InferenceClient"]:
    """A client for the time of a block; a model in this process is loaded before, and unloaded after.

    Raises:
        ArtifactError: the folder holds no sound artifact.
        EngineError: the model cannot be loaded.
    """
    if place.model is None:
        from moesaic.client import AsyncClient

        async with AsyncClient(
            place.target or DEFAULT_TARGET, token=place.token, root_certificates=place.root_certificates
        ) as client:
            yield client
        return

    from moesaic.artifact import ModelArtifact
    from moesaic.cli.engines import chosen_engine
    from moesaic.server import InferenceService, InProcessClient, ServedModel
    from moesaic.server.engine import VllmSettings

    artifact = ModelArtifact.open(place.model)
    engine = chosen_engine(artifact, place.engine, VllmSettings())
    with Console(stderr=True).status("loading the model and replaying its canary"):
        await engine.start()
    try:
        yield InProcessClient(InferenceService(engine, ServedModel.of(artifact)))
    finally:
        await engine.stop()


def read_token(path: Path) -> str:
    """The credential in a file; `InputError` if there is none."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"token_file={str(path)!r} cannot be read: give a text file that holds the token") from error
