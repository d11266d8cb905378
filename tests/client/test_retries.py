"""Retries, deadlines and cancellation of both clients, over a server that fails on command."""

import asyncio
import contextlib
import socket
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest

from moesaic import errors, v1
from moesaic.client import AsyncClient, Client
from moesaic.client.call import Call, FailedCall
from tests.client.conftest import MakeClient
from tests.client.fake_server import NEVER, FakeServer, Plain, Step, events, serving
from tests.client.waiting import GROWING_S, PATIENCE_S, until

BUSY = errors.UnavailableError("come back", retry_after_s=0.01)
OVERLOADED = errors.EngineOverloadedError("the queue is full")
DEAD = errors.EngineDeadError("killed")
AWAY = Plain(grpc.StatusCode.UNAVAILABLE)
ANSWER = v1.GenerateResponse(model="tiny")
STREAM = v1.GenerateStreamRequest()


async def told(client: object, *, timeout_s: float | None = None) -> str:
    """The text of a stream."""
    stream = client.generate_stream(STREAM, timeout_s=timeout_s)  # type: ignore[attr-defined]
    async with contextlib.aclosing(stream) as received:
        return "".join([event.delta.text async for event in received])


@pytest.mark.parametrize("steps", [[BUSY], [BUSY, AWAY, BUSY], [DEAD], [OVERLOADED]], ids=str)
async def test_a_server_that_comes_back_is_found(make_client: MakeClient, steps: list[Step]) -> None:
    server = FakeServer(*([step] for step in steps), last=[ANSWER])
    async with serving(server) as target:
        assert (await make_client(target).generate(v1.GenerateRequest())).model == "tiny"
    assert len(server.metadata) == len(steps) + 1
    assert len({metadata["x-request-id"] for metadata in server.metadata}) == 1


@pytest.mark.parametrize("steps", [[BUSY], [BUSY, AWAY, BUSY]], ids=str)
async def test_a_stream_is_tried_again_before_its_first_event(make_client: MakeClient, steps: list[Step]) -> None:
    server = FakeServer(*([step] for step in steps), last=events("叶绿素"))
    async with serving(server) as target:
        assert await told(make_client(target)) == "叶绿素"
    assert len(server.metadata) == len(steps) + 1
    assert len({metadata["x-request-id"] for metadata in server.metadata}) == 1


async def test_a_stream_is_not_tried_again_after_its_first_event(make_client: MakeClient) -> None:
    server = FakeServer([*events("half", complete=False), BUSY], last=events("whole"))
    async with serving(server) as target:
        with pytest.raises(errors.UnavailableError, match="come back"):
            await told(make_client(target))
    assert len(server.metadata) == 1


async def test_a_stream_without_its_last_event_is_not_complete(make_client: MakeClient) -> None:
    server = FakeServer(events("half", complete=False), [])
    async with serving(server) as target:
        client = make_client(target)
        for _ in range(2):
            with pytest.raises(errors.ServiceError, match="not complete"):
                await told(client)
    assert len(server.metadata) == 2


async def test_retries_end_with_the_last_error(make_client: MakeClient) -> None:
    server = FakeServer(last=[BUSY])
    async with serving(server) as target:
        with pytest.raises(errors.UnavailableError, match="come back"):
            await make_client(target, retries=2).generate(v1.GenerateRequest())
        assert len(server.metadata) == 3
        with pytest.raises(errors.UnavailableError, match="come back"):
            await told(make_client(target, retries=0))
    assert len(server.metadata) == 4


async def test_a_wrong_request_is_tried_once(make_client: MakeClient) -> None:
    server = FakeServer(last=[errors.RequestError("sampling.top_p", "2.0 is above 1")])
    async with serving(server) as target:
        client = make_client(target)
        with pytest.raises(errors.RequestError) as raised:
            await client.generate(v1.GenerateRequest())
        assert raised.value.field == "sampling.top_p"
        with pytest.raises(errors.RequestError):
            await told(client)
    assert len(server.metadata) == 2


async def test_the_deadline_covers_all_attempts(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's clock shows what the first attempts are said to have taken, however long they took."""
    now = 0.0
    monkeypatch.setattr("moesaic.client.call.time", SimpleNamespace(monotonic=lambda: now))

    def half() -> None:
        nonlocal now
        now += 29.6

    server = FakeServer([half, BUSY], [half, BUSY], last=[NEVER])
    async with serving(server) as target:
        with pytest.raises(errors.DeadlineExceededError, match=r"within 60 s.*timeout_s"):
            await make_client(target, timeout_s=60.0).generate(v1.GenerateRequest())
    await until(lambda: server.open == 0)  # now that nothing can arrive any more
    # The third has 0.8 s, in which it arrives unless a process stands still.
    assert len(server.metadata) == 2 + server.cancelled <= 3
    # On its way a deadline is rounded up.
    assert all(left_s <= most for left_s, most in zip(server.left_s, (61.0, 31.0, 1.0), strict=False))


async def test_a_call_may_have_its_own_deadline(make_client: MakeClient) -> None:
    server = FakeServer(last=[*events("begun", complete=False), NEVER])
    async with serving(server) as target:
        client = make_client(target)
        for own_s in GROWING_S:
            with pytest.raises(errors.DeadlineExceededError, match=rf"within {own_s:g} s"):
                await told(client, timeout_s=own_s)
            await until(lambda: server.open == 0)
            if server.metadata:  # a deadline that passed before the call arrived says nothing
                break
        with pytest.raises(errors.DeadlineExceededError, match="within 0 s"):
            await client.generate(v1.GenerateRequest(), timeout_s=0.0)
    await until(lambda: server.open == 0)  # a call that arrived after its deadline
    assert len(server.metadata) == server.cancelled > 0


async def test_the_token_goes_with_every_call(make_client: MakeClient) -> None:
    server = FakeServer(last=events("x"))
    async with serving(server) as target:
        client = make_client(target, token="s3cret")
        await told(client)
        await told(client)
    assert [metadata["authorization"] for metadata in server.metadata] == ["Bearer s3cret"] * 2
    assert len({metadata["x-request-id"] for metadata in server.metadata}) == 2


async def test_a_socket_in_a_folder(make_client: MakeClient, tmp_path: Path) -> None:
    server = FakeServer(last=events("x"))
    async with serving(server, f"unix:{tmp_path}/s.sock") as target:
        assert await told(make_client(target, token="s3cret")) == "x"


async def test_a_server_that_is_not_there(make_client: MakeClient) -> None:
    with socket.socket() as taken:  # and does not listen: nobody else can open this port meanwhile
        taken.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(errors.UnavailableError, match=f"'{target}' does not answer.*check that the server runs"):
            await make_client(target, retries=1).generate(v1.GenerateRequest())


async def test_a_server_that_starts_late_is_found(make_client: MakeClient, tmp_path: Path) -> None:
    target = f"unix:{tmp_path}/s.sock"
    asking = asyncio.create_task(told(make_client(target, retries=30, timeout_s=4 * PATIENCE_S)))
    await asyncio.sleep(0.5)
    assert not asking.done()
    async with serving(FakeServer(last=events("late")), target):
        assert await asyncio.wait_for(asking, PATIENCE_S) == "late"


async def test_a_proxy_does_not_come_between(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with serving(FakeServer(last=events("x"))) as target:
        assert await told(make_client(target, retries=0)) == "x"


async def test_closing_a_stream_cancels_its_call(make_client: MakeClient) -> None:
    server = FakeServer(last=[*events("begun", complete=False), NEVER])
    async with serving(server) as target:
        stream = make_client(target).generate_stream(STREAM)
        assert (await anext(stream)).HasField("started")
        await stream.aclose()
        await until(lambda: server.open == 0)
    assert server.cancelled == 1


async def test_a_closed_client_says_so(make_client: MakeClient) -> None:
    server = FakeServer(last=[NEVER])
    async with serving(server) as target:
        client = make_client(target)
        asking = [asyncio.create_task(client.generate(v1.GenerateRequest())), asyncio.create_task(told(client))]
        await until(lambda: server.open == 2)
        await client.aclose()
        for task in asking:
            with pytest.raises(errors.ServiceError, match="this client was closed"):
                await asyncio.wait_for(task, PATIENCE_S)
        with pytest.raises(errors.ServiceError, match="make a new one"):
            await client.generate(v1.GenerateRequest())
        with pytest.raises(errors.ServiceError, match="make a new one"):
            await told(client)


@pytest.mark.parametrize("streaming", [False, True])
async def test_cancelling_a_task_cancels_its_call(streaming: bool) -> None:
    server = FakeServer(last=[NEVER])
    async with serving(server) as target, AsyncClient(target) as client:
        asking: asyncio.Task[object] = asyncio.create_task(
            told(client) if streaming else client.generate(v1.GenerateRequest())
        )
        await until(lambda: server.open == 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await until(lambda: server.open == 0)
    assert server.cancelled == 1


async def test_cancelling_a_pause_makes_no_further_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    def noted(self: Call, failed: FailedCall, *, begun: bool = False) -> float:
        pauses.append(pause_s(self, failed, begun=begun))
        return pauses[-1]

    pause_s = Call.pause_s
    monkeypatch.setattr(Call, "pause_s", noted)
    server = FakeServer(last=[errors.UnavailableError("later", retry_after_s=30.0)])
    async with serving(server) as target, AsyncClient(target) as client:
        asking = asyncio.create_task(client.generate(v1.GenerateRequest()))
        await until(lambda: bool(pauses))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert pauses[0] > 30
    assert len(server.metadata) == 1


async def test_one_client_serves_several_loops() -> None:
    async with serving(FakeServer(last=events("x"))) as target:
        client = AsyncClient(target)

        def elsewhere() -> str:
            return asyncio.run(told(client))

        assert await told(client) == "x"
        assert await asyncio.gather(*(asyncio.to_thread(elsewhere) for _ in range(3))) == ["x"] * 3
        assert await told(client) == "x"
        await client.aclose()


async def test_a_client_in_a_block_is_closed_after_it() -> None:
    async with serving(FakeServer(last=events("x"))) as target:
        async with AsyncClient(target) as client:
            assert await told(client) == "x"
        with pytest.raises(errors.ServiceError, match="closed"):
            await told(client)
        with Client(target) as other:
            assert len(await asyncio.to_thread(lambda: list(other.generate_stream(STREAM)))) == 3
        with pytest.raises(errors.ServiceError, match="closed"):
            list(other.generate_stream(STREAM))
