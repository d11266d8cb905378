"""`MoesaicServer`: one engine behind gRPC, from the first byte to the last.

Life: the socket is opened and health says NOT_SERVING; the engine starts and replays the canary; SERVING. An engine
that dies makes it NOT_SERVING at once, and is started again. `replace` puts another engine in its place. `stop` refuses
new calls, lets open ones end, and ends what is left with a typed last event.

Health (`grpc.health.v1`, with a Watch that goes on) has one answer for the server ("") and for each service: whether it
serves now.
"""

import asyncio
import contextlib
import logging
import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from moesaic.errors import InputError
from moesaic.server.config import ServerConfig
from moesaic.server.credentials import Tokens, server_credentials
from moesaic.server.discovery import DiscoveryService
from moesaic.server.engine import Engine, EngineState
from moesaic.server.grpc_service import Calls, DiscoveryServicer, InferenceServicer
from moesaic.server.inference import InferenceService, ServiceLimits
from moesaic.server.observation import Observation
from moesaic.server.served_model import ServedModel
from moesaic.server.unreadable import UnreadableRequests
from moesaic.v1 import discovery_pb2, discovery_pb2_grpc, inference_pb2, inference_pb2_grpc

if TYPE_CHECKING:
    from moesaic.retrieval.embedder import Embedder

__all__ = ["MoesaicServer"]

_LOGGER = logging.getLogger("moesaic.server")
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_SERVICES = (
    "",
    inference_pb2.DESCRIPTOR.services_by_name["InferenceService"].full_name,
    discovery_pb2.DESCRIPTOR.services_by_name["DiscoveryService"].full_name,
)
_FIRST_RESTART_S, _LONGEST_RESTART_S = 0.5, 60.0
_TOLD_LOOKS, _TOLD_LOOK_S = 100, 0.02
"""How often, and how many seconds apart, it is looked whether what has ended has reached its callers."""
_HEARD_S = 0.1
"""How long those who watch the health have to hear of the end before their streams end too."""


class MoesaicServer:
    """A server of one model.

    Args:
        engine: computes tokens; started by `start` unless it is ready, and stopped by `stop`.
        config: how to listen, and bounds.
        model: what is said about the model, or
        model_name: its name, where nothing else is known (tests).
        embedder: answers Embed.

    Attributes:
        service: the calls, without the network (for `InProcessClient`).
        observation: metrics and log.
    """

    def __init__(
        self,
        engine: Engine,
        config: ServerConfig | None = None,
        *,
        model: ServedModel | None = None,
        model_name: str = "model",
        embedder: "Embedder | None" = None,
    ) -> None:
        self.config = config or ServerConfig()
        self.service = InferenceService(
            engine,
            model or ServedModel(name=model_name, weight_version="unknown"),
            embedder=embedder,
            limits=ServiceLimits(
                default_max_tokens=self.config.default_max_tokens,
                max_open_requests=self.config.max_open_requests,
                max_batch=self.config.max_batch,
            ),
        )
        self.observation = Observation(lambda: self.engine.load())
        self.metrics_port: int | None = None
        self._health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None
        self._calls: Calls | None = None
        self._port = 0
        self._keeper: asyncio.Task[None] | None = None

    @property
    def engine(self) -> Engine:
        """What computes now."""
        return self.service.engine

    @property
    def target(self) -> str:
        """Where clients find it."""
        if self.config.listen.startswith("unix:"):
            return self.config.listen
        return f"{self.config.listen.rpartition(':')[0]}:{self._port}"

    async def start(self) -> None:
        """Listen, start the engine, and serve.

        Raises:
            InputError: the address, a certificate or the tokens cannot be used.
            EngineError, CanaryError: the engine does not start; nothing listens then.
        """
        server = self._server = self._built()
        try:
            self._port = self._bound(server)
            await self._tell(serving=False)
            await server.start()
            if self.config.metrics_listen is not None:
                self.metrics_port = self.observation.serve(self.config.metrics_listen)
            await self.engine.start()
        except BaseException:
            await self._closed(server)
            raise
        await self._tell(serving=True)
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self, drain_s: float | None = None) -> None:
        """Refuse new calls, let open ones end for at most `drain_s` seconds, end the rest, and stop the engine."""
        server, self._server = self._server, None
        if server is None:
            return

        await self._left_alone()
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(_HEARD_S)
        try:
            await self.service.drain(self.config.drain_s if drain_s is None else drain_s)
            await self._told()
        finally:
            await self._closed(server)
            await self.engine.stop()

    async def replace(self, engine: Engine, model: ServedModel) -> None:
        """Serve with another engine: drain, stop the former one, start this one; if it fails, the former one serves on.

        Callers get UNAVAILABLE with a time to come back meanwhile; what was open may end first, as in `stop`.

        Raises:
            EngineError, CanaryError: the new engine did not start; the former one serves again.
        """
        assert self._server is not None, "a server that serves"
        await self._left_alone()
        await self._tell(serving=False)
        former, said = self.service.engine, self.service.model
        try:
            await self.service.drain(self.config.drain_s)
            await former.stop()
            self.service.engine, self.service.model = engine, model
            try:
                await engine.start()
            except Exception:
                await engine.stop()
                self.service.engine, self.service.model = former, said
                await former.start()
                raise
        finally:
            self.service.calls.draining = False
            if self.engine.state is EngineState.READY:
                await self._tell(serving=True)
            self._keeper = asyncio.create_task(self._keep())

    async def wait(self) -> None:
        """Wait until the server has stopped."""
        if self._server is not None:
            await self._server.wait_for_termination()

    def _built(self) -> grpc.aio.Server:
        config = self.config
        tokens = None if config.tokens_file is None else Tokens.read(config.tokens_file)
        server = grpc.aio.server(
            interceptors=(UnreadableRequests(),),
            options=(
                ("grpc.max_receive_message_length", config.max_message_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),  # a second server on the same port is a mistake
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.keepalive_timeout_ms", 20_000),
                ("grpc.keepalive_permit_without_calls", 1),
            ),
        )
        calls = self._calls = Calls(tokens, self.observation)
        discovery = DiscoveryService(self.service, max_message_bytes=config.max_message_bytes)
        inference_pb2_grpc.add_InferenceServiceServicer_to_server(InferenceServicer(self.service, calls), server)
        discovery_pb2_grpc.add_DiscoveryServiceServicer_to_server(DiscoveryServicer(discovery, calls), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if config.reflection:
            from grpc_reflection.v1alpha import reflection

            names = [*_SERVICES[1:], health.SERVICE_NAME, reflection.SERVICE_NAME]
            reflection.enable_server_reflection(names, server)
        return server

    def _bound(self, server: grpc.aio.Server) -> int:
        config = self.config
        if config.listen.startswith("unix:"):
            _remove_stale(Path(config.listen.removeprefix("unix:")))
        before = os.umask(0o077)  # a socket file belongs to its owner alone
        try:
            if config.tls_certificate is None or config.tls_key is None:
                return server.add_insecure_port(config.listen)
            return server.add_secure_port(config.listen, server_credentials(config.tls_certificate, config.tls_key))
        except RuntimeError as error:
            raise InputError(
                f"listen={config.listen!r} cannot be opened: another program may listen there, or a certificate is "
                "unusable; choose another address, or port 0 for any free one"
            ) from error
        finally:
            os.umask(before)

    async def _left_alone(self) -> None:
        """Watch the engine no more: one that dies from now on is not brought back."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait({keeper})

    async def _told(self) -> None:
        """Wait until the last words of what has ended are sent: closing takes back what gRPC's threads still hold.

        Whoever did not let its call end in time has been waited for already.
        """
        looks_left = _TOLD_LOOKS
        while self._calls is not None and self._calls.untold > len(self.service.calls) and looks_left > 0:
            looks_left -= 1
            await asyncio.sleep(_TOLD_LOOK_S)

    async def _closed(self, server: grpc.aio.Server) -> None:
        await server.stop(grace=None)
        self.observation.close()

    async def _tell(self, *, serving: bool) -> None:
        for service in _SERVICES:
            await self._health.set(service, _SERVING if serving else _NOT_SERVING)

    async def _keep(self) -> None:
        """Watch the engine; tell when it is gone, and bring it back."""
        while True:
            failure = await self.engine.wait_failed()
            await self._tell(serving=False)
            _LOGGER.error("the engine failed", extra={"facts": {"reason": str(failure)}})
            if not self.config.restart_engine:
                return
            await self._restarted()
            await self._tell(serving=True)
            _LOGGER.warning("the engine serves again")

    async def _restarted(self) -> None:
        wait_s = _FIRST_RESTART_S
        while True:
            await asyncio.sleep(wait_s)
            try:
                await self.engine.start()
                return
            except Exception as error:  # whatever it was this time, the next try may succeed
                wait_s = min(2 * wait_s, _LONGEST_RESTART_S)
                facts = {"reason": str(error), "again_after_s": wait_s}
                _LOGGER.error("the engine did not start again", extra={"facts": facts})


def _remove_stale(path: Path) -> None:
    """Remove a socket that a killed server left; anything else at that place is not ours to remove."""
    if not path.parent.is_dir():
        raise InputError(f"listen='unix:{path}': the folder {path.parent} does not exist; make it first")
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise InputError(f"listen='unix:{path}': there is a file that is no socket; choose another path")
        if _answers(path):
            raise InputError(f"listen='unix:{path}': another program listens there; choose another path")
        path.unlink()


def _answers(path: Path) -> bool:
    """Whether somebody listens at a socket."""
    with socket.socket(socket.AF_UNIX) as trial:
        try:
            trial.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError as error:
            raise InputError(f"listen='unix:{path}' cannot be used: {error.strerror}; choose another path") from error
    return True
