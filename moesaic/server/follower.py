"""`RegistryFollower`: has a server serve whatever version a registry says is current.

It looks at one link now and then. A version that does not load (a damaged file, a canary that fails, an engine that
does not start) is refused in the registry's history, and the version before serves on.
"""

import asyncio
import logging
from collections.abc import Callable

from moesaic.artifact import ModelArtifact, ModelRegistry
from moesaic.errors import ArtifactError, StorageError
from moesaic.server.engine import Engine
from moesaic.server.served_model import ServedModel
from moesaic.server.server import MoesaicServer

__all__ = ["RegistryFollower"]

_LOGGER = logging.getLogger("moesaic.server")


class RegistryFollower:
    """Follows one registry for one server.

    Args:
        server: a server that serves `version` of the registry.
        registry: says what is to be served.
        version: what is served now.
        engine_of: makes the engine of an artifact; not started.
        name: what clients call the model whatever its version; its own name if None.
        look_s: seconds between two looks.

    Attributes:
        version: what is served.
    """

    def __init__(
        self,
        server: MoesaicServer,
        registry: ModelRegistry,
        version: str,
        engine_of: Callable[[ModelArtifact], Engine],
        *,
        name: str | None = None,
        look_s: float = 1.0,
    ) -> None:
        self.version = version
        self._server = server
        self._registry = registry
        self._engine_of = engine_of
        self._name = name
        self._look_s = look_s
        self._refused: str | None = None

    async def run(self) -> None:
        """Follow until cancelled."""
        self._note_served()
        while True:
            await asyncio.sleep(self._look_s)
            try:
                wanted = self._registry.current
            except ArtifactError as error:
                _LOGGER.error("the registry cannot be read", extra={"facts": {"reason": str(error)}})
                continue
            if wanted == self.version:
                self._refused = None  # whoever names the refused one again means it
            elif wanted is not None and wanted != self._refused:
                await self._turn(wanted)

    async def _turn(self, wanted: str) -> None:
        facts = {"from": self.version, "to": wanted}
        _LOGGER.warning("the registry names another version", extra={"facts": facts})
        try:
            artifact = await asyncio.to_thread(self._verified, wanted)
            await self._server.replace(self._engine_of(artifact), ServedModel.of(artifact, self._name))
        except Exception as error:  # whatever it was, the former version serves on
            self._refused = wanted  # not tried again each second, should the registry not be writable
            reason = f"{type(error).__name__}: {error}"
            _LOGGER.error("the version was refused", extra={"facts": facts | {"reason": reason}})
            self._noted(lambda: self._registry.refuse(wanted, back_to=self.version, reason=reason))
            return
        self.version, self._refused = wanted, None
        self._note_served()

    def _note_served(self) -> None:
        self._noted(lambda: self._registry.note_served(self.version))

    def _noted(self, note: Callable[[], None]) -> None:
        """Write into the history; a server serves on where it may only read."""
        try:
            note()
        except StorageError as error:
            _LOGGER.error("the registry cannot be written", extra={"facts": {"reason": str(error)}})

    def _verified(self, version: str) -> ModelArtifact:
        artifact = self._registry.artifact(version)
        artifact.verify()
        return artifact
