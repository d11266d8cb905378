"""One load, sent by each way: what is counted, and what is refused. vLLM's HTTP server is not needed for that."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from benchmarks.import_time import import_times
from benchmarks.serving_load import EngineWay, GrpcWay, HttpWay, run_load
from moesaic.client import AsyncClient
from moesaic.server import MoesaicServer, ServerConfig
from moesaic.server.engine import ScriptedEngine

PROMPTS = [(1, 2, 3), (4, 5), (6,)]


@pytest_asyncio.fixture
async def server() -> AsyncIterator[MoesaicServer]:
    server = MoesaicServer(ScriptedEngine(["some words"]), ServerConfig(listen="127.0.0.1:0"))
    await server.start()
    yield server
    await server.stop(0)


async def test_engine_and_grpc_give_the_same_tokens(server: MoesaicServer) -> None:
    async with AsyncClient(server.target) as client:
        for way in (EngineWay(server.engine), GrpcWay(client, EngineWay(server.engine).front_end)):
            began = time.perf_counter()
            outcome = await run_load(way, PROMPTS, 20)
            assert outcome.tokens_per_s > 0
            assert len(outcome.first_token_s) == 3
            assert 0 < outcome.first_token_median_s < time.perf_counter() - began
            assert outcome.front_end_cpu_s >= 0


async def test_http_pieces_are_counted_by_their_token_ids() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        response = web.StreamResponse()
        await response.prepare(request)
        for token in range(asked["max_tokens"]):
            piece = {"choices": [{"text": "x", "token_ids": [token]}]}
            await response.write(f"data: {json.dumps(piece)}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        return response

    app = web.Application()
    app.router.add_post("/v1/completions", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()  # a port that was free a moment ago may be taken by now
    async with aiohttp.ClientSession() as session:
        base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        way = HttpWay(session, base, "model", EngineWay(ScriptedEngine()).front_end)
        assert (await run_load(way, PROMPTS, 5)).tokens_per_s > 0
    await runner.cleanup()


async def test_answers_of_another_length_do_not_count() -> None:
    class Short(EngineWay):
        async def tokens(self, prompt: tuple[int, ...], new_tokens: int) -> AsyncGenerator[int, None]:
            await asyncio.sleep(0)
            yield new_tokens - 1

    with pytest.raises(RuntimeError, match="gave 12 tokens instead of 15"):
        await run_load(Short(ScriptedEngine()), PROMPTS, 5)


def test_imports_are_timed_in_turn() -> None:
    times = import_times(1)
    assert list(times) == ["grpc", "moesaic.client"]
    assert all(len(values) == 1 and values[0] > 0 for values in times.values())
