"""The server as a whole: how it listens, what comes back with a call, reflection, metrics, two on one address."""

import os
import socket
import stat
import urllib.request
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from moesaic import v1
from moesaic.client import AsyncClient
from moesaic.errors import InputError
from moesaic.server import MoesaicServer, ServerConfig
from moesaic.server.engine import ScriptedEngine, ScriptedReply
from tests.client.waiting import PATIENCE_S, until
from tests.server.serving import Served, chat, generate, refused, serving, streamed


async def test_a_unix_socket_is_its_owners_alone_and_goes_away(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    async with serving(listen=f"unix:{path}") as served:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
        assert served.server.target == f"unix:{path}"
        assert (await served.call("Generate", generate())).completions[0].text == "ok"
    assert not path.exists()


async def test_a_socket_that_a_killed_server_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert path.exists()
    async with serving(listen=f"unix:{path}") as served:
        assert (await served.call("Generate", generate())).completions


async def test_two_servers_on_one_address(tmp_path: Path) -> None:
    async with serving() as first, serving(listen=f"unix:{tmp_path}/s.sock") as second:
        for served in (first, second):
            config = ServerConfig(listen=served.server.target)
            with pytest.raises(InputError, match=r"listen=.*another"):
                await MoesaicServer(ScriptedEngine(), config).start()
            assert (await served.call("Generate", generate())).completions[0].text == "ok"


async def test_a_file_that_is_no_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    for listen, part in ((f"unix:{path}", "no socket"), (f"unix:{tmp_path}/none/s.sock", "does not exist")):
        with pytest.raises(InputError, match=part):
            await MoesaicServer(ScriptedEngine(), ServerConfig(listen=listen)).start()
    assert path.read_text() == "mine"


async def test_addresses_of_loopback() -> None:
    for listen in ("localhost:0", "[::1]:0", "127.0.0.1:0"):
        async with serving(listen=listen) as served:
            assert not served.server.target.endswith(":0")
            assert await served.healthy()


@pytest.mark.parametrize("request_id", ["abc", "a b/c", "x" * 128, "~!"])
async def test_a_call_s_name_comes_back(request_id: str) -> None:
    async with serving() as served:
        call = served.inference.Generate(generate(), metadata=[("x-request-id", request_id)], timeout=PATIENCE_S)
        assert dict(await call.initial_metadata())["x-request-id"] == request_id
        assert (await call).request_id == request_id
        named = await served.call("Generate", generate(request_id="名"), metadata=[("x-request-id", request_id)])
        assert named.request_id == "名"


async def test_a_call_without_a_name_gets_one() -> None:
    async with serving() as served:
        call = served.inference.GenerateStream(streamed(), timeout=PATIENCE_S)
        name = dict(await call.initial_metadata())["x-request-id"]
        events = [event async for event in call]
        assert events[0].started.request_id == name
        assert len(name) == 32


async def test_a_name_that_is_too_long_is_refused() -> None:
    async with serving() as served:
        refusal = await refused(served, "Generate", generate(), metadata=[("x-request-id", "x" * 129)])
        assert (refusal.code, refusal.field) == (grpc.StatusCode.INVALID_ARGUMENT, "x-request-id")
        assert refusal.request_id != ""


async def test_metadata_that_is_no_text() -> None:
    """Bytes belong into names that end in -bin; gRPC refuses others before they are sent, or they do no harm."""
    async with serving() as served:
        binary = [("x-other-bin", b"\xff\x00"), ("traceparent", "00-" + "a" * 32 + "-" + "b" * 16 + "-01")]
        assert (await served.call("Generate", generate(), metadata=binary)).completions
        for value in ("日本", "caf\u00e9", "a\nb", "\x01"):
            with pytest.raises((grpc.aio.AioRpcError, ValueError, TypeError, grpc.aio.InternalError)):
                await served.call("Generate", generate(), metadata=[("x-request-id", value)])
        assert await served.healthy()


async def test_a_full_server_refuses_at_once() -> None:
    async with serving([ScriptedReply(delay_s=300.0)], max_open_requests=2) as served:
        calls = [served.inference.Generate(generate(), timeout=4 * PATIENCE_S) for _ in range(2)]
        await until(lambda: len(served.server.service.calls) == 2)
        for method, request in (("Generate", generate()), ("Embed", v1.EmbedRequest(texts=["x"]))):
            refusal = await refused(served, method, request)
            assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "OVERLOADED")
            assert refusal.retry
        for call in calls:
            call.cancel()
        await served.until_idle()


async def services(served: Served) -> set[str]:
    channel: Any = served.channel
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    call = stub.ServerReflectionInfo(
        iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=PATIENCE_S
    )
    async for answer in call:
        return {service.name for service in answer.list_services_response.service}
    return set()


async def test_reflection_is_for_development() -> None:
    async with serving(reflection=True) as served:
        assert {"moesaic.v1.InferenceService", "moesaic.v1.DiscoveryService"} < await services(served)
    async with serving() as served:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await services(served)
        assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED


def scraped(served: Served) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{served.server.metrics_port}/metrics", timeout=PATIENCE_S) as answer:
        body: bytes = answer.read()
    return body.decode()


async def test_metrics_over_http() -> None:
    async with serving(metrics_listen="127.0.0.1:0") as served:
        await served.call("Generate", generate())
        text = scraped(served)
        assert 'moesaic_calls_total{code="OK",method="Generate"} 1.0' in text
        assert "moesaic_engine_running 0.0" in text
        taken = ServerConfig(listen="127.0.0.1:0", metrics_listen=f"127.0.0.1:{served.server.metrics_port}")
        with pytest.raises(InputError, match=r"metrics_listen=.*another port"):
            await MoesaicServer(ScriptedEngine(), taken).start()
    with pytest.raises(OSError, match="refused"):
        scraped(served)


async def test_compressed_calls() -> None:
    async with serving(["x" * 400]) as served:
        for algorithm in (grpc.Compression.Gzip, grpc.Compression.Deflate):
            answer = await served.call("Generate", generate("y" * 64, max_tokens=400), compression=algorithm)
            assert answer.completions[0].text == "x" * 400


async def test_any_client_of_ours() -> None:
    async with serving(["oui"]) as served, AsyncClient(served.server.target, retries=0) as client:
        assert (await client.chat(chat())).choices[0].message.content == "oui"


async def test_the_umask_is_the_process_s_own_again() -> None:
    before = os.umask(0o022)
    try:
        async with serving():
            pass
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
