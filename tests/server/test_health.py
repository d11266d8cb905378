"""Health says what is so: not serving while it starts, serving, not serving while the engine is gone, serving again."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from moesaic.errors import CanaryError, EngineError
from moesaic.server import MoesaicServer, ServedModel, ServerConfig
from moesaic.server.engine import EngineState, ScriptedEngine
from tests.client.waiting import PATIENCE_S, until
from tests.server.serving import ENDLESS, METHODS, Served, generate, refused, serving, streamed

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
SERVICES = ["", "moesaic.v1.InferenceService", "moesaic.v1.DiscoveryService"]


def watched(served: Served, service: str = "") -> tuple[Any, list[int]]:
    """A Watch, and what it has said so far."""
    call = served.health.Watch(health_pb2.HealthCheckRequest(service=service), timeout=4 * PATIENCE_S)
    said: list[int] = []

    async def listen() -> None:
        try:
            async for answer in call:
                said.append(answer.status)  # noqa: PERF401
        except (grpc.aio.AioRpcError, asyncio.CancelledError):
            said.append(-1)

    return asyncio.ensure_future(listen()), said


class Gated(ScriptedEngine):
    """Starts while `go` is set, and waits for it otherwise."""

    def __init__(self) -> None:
        super().__init__([ENDLESS])
        self.go = asyncio.Event()

    async def start(self) -> None:
        if self.state is EngineState.STOPPED:  # one that died looks dead until it is back
            self._lifecycle.starting()
        await self.go.wait()
        await super().start()


@pytest.mark.parametrize("service", SERVICES)
async def test_a_watch_sees_a_death_and_a_return(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moesaic.server.server._FIRST_RESTART_S", 0.01)
    engine = Gated()
    engine.go.set()
    async with serving(engine) as served:
        watching, said = watched(served, service)
        await until(lambda: said == [SERVING])
        stream = served.inference.GenerateStream(streamed(), timeout=PATIENCE_S)
        assert (await stream.read()).started.model == "tiny"
        engine.go.clear()
        engine.die("killed")
        await until(lambda: said == [SERVING, NOT_SERVING])
        refusal = await refused(served, "Generate", generate())
        assert (refusal.code, refusal.retry) == (grpc.StatusCode.UNAVAILABLE, True)
        with pytest.raises(grpc.aio.AioRpcError) as raised:  # noqa: PT012
            while await stream.read() is not grpc.aio.EOF:
                continue
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
        engine.go.set()
        await until(lambda: said == [SERVING, NOT_SERVING, SERVING])
        assert await served.healthy(service)
        assert served.server.service.engine.load().running == 0
        stream = served.inference.GenerateStream(streamed(), timeout=4 * PATIENCE_S)
        assert (await stream.read()).started.model == "tiny"
        stopping = asyncio.create_task(served.server.stop(4 * PATIENCE_S))  # it drains until the stream ends
        await until(lambda: said == [SERVING, NOT_SERVING, SERVING, NOT_SERVING])
        stream.cancel()
        await asyncio.wait_for(stopping, PATIENCE_S)
        await asyncio.wait_for(watching, PATIENCE_S)


@pytest.mark.parametrize("method", ["Generate", "GenerateStream", "Chat", "ChatStream", "Score"])
async def test_a_dead_engine_never_looks_like_success(method: str) -> None:
    engine = ScriptedEngine()
    async with serving(engine, restart_engine=False) as served:
        engine.die("killed")
        refusal = await refused(served, method, METHODS[method]())
        assert refusal.code == grpc.StatusCode.UNAVAILABLE
        assert not await served.healthy()
        assert (await served.call("GetLoad", METHODS["GetLoad"]())).running == 0
        assert (await served.call("Tokenize", METHODS["Tokenize"](text="ab"))).token_ids == [97, 98]


async def test_without_restarts_it_stays_away() -> None:
    engine = ScriptedEngine()
    async with serving(engine, restart_engine=False) as served:
        watching, said = watched(served)
        await until(lambda: said == [SERVING])
        engine.die("killed")
        await until(lambda: said == [SERVING, NOT_SERVING])
        assert not await served.healthy()
        assert (await refused(served, "Generate", generate())).code == grpc.StatusCode.UNAVAILABLE
    await asyncio.wait_for(watching, PATIENCE_S)


class Moody(ScriptedEngine):
    """Fails to start a number of times, each time in another way."""

    failures: list[BaseException]

    async def start(self) -> None:
        if self.failures:
            raise self.failures.pop(0)
        await super().start()


async def test_a_restart_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moesaic.server.server._FIRST_RESTART_S", 0.01)
    engine = Moody()
    engine.failures = []
    async with serving(engine) as served:
        engine.failures = [EngineError("no memory"), OSError(12, "no process"), RuntimeError("no reason")]
        engine.die("killed")
        await until(lambda: not engine.failures)
        await until(lambda: engine.state == "ready")
        await served.until_healthy()
        assert (await served.call("Generate", generate())).completions[0].text == "ok"


async def test_not_serving_while_it_starts() -> None:
    engine = Gated()
    server = MoesaicServer(engine, ServerConfig(listen="127.0.0.1:0"), model=ServedModel(name="m", weight_version="w"))
    starting = asyncio.create_task(server.start())
    await until(lambda: engine.state == "starting")
    async with grpc.aio.insecure_channel(server.target) as channel:
        served = Served(server=server, channel=channel)
        watching, said = watched(served)
        await until(lambda: said == [NOT_SERVING])
        refusal = await refused(served, "Generate", generate())
        assert (refusal.code, refusal.retry) == (grpc.StatusCode.UNAVAILABLE, True)
        assert "starting" in refusal.message
        assert (await served.call("GetServerInfo", METHODS["GetServerInfo"]())).engine == "gated"
        engine.go.set()
        await starting
        await until(lambda: said == [NOT_SERVING, SERVING])
        await server.stop(0)
        await asyncio.wait_for(watching, PATIENCE_S)


@pytest.fixture
async def broken(tmp_path: Path) -> AsyncIterator[MoesaicServer]:
    engine = Moody()
    engine.failures = [CanaryError("other weights", difference=1.0, threshold=0.1)]
    # A socket of its own: a port that was given back may be another server's by then.
    server = MoesaicServer(engine, ServerConfig(listen=f"unix:{tmp_path}/s.sock"), model_name="m")
    yield server
    await server.stop(0)


async def test_weights_that_fail_their_canary_are_never_served(broken: MoesaicServer) -> None:
    with pytest.raises(CanaryError):
        await broken.start()
    async with grpc.aio.insecure_channel(broken.target) as channel:
        refusal = await refused(Served(server=broken, channel=channel), "Generate", generate())
    assert refusal.code == grpc.StatusCode.UNAVAILABLE
    assert refusal.reason == ""  # nobody listens


async def test_an_unknown_service() -> None:
    async with serving() as served:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await served.healthy("moesaic.v1.Other")
        assert raised.value.code() == grpc.StatusCode.NOT_FOUND
