"""A server that is told to stop: nothing new, what is open may end, and what is left ends with a typed last event."""

import asyncio
import time
from typing import Any

import grpc
import pytest

from moesaic import v1
from moesaic.server.engine import EngineState, ScriptedEngine, ScriptedReply
from moesaic.server.grpc_service import Calls
from tests.client.waiting import PATIENCE_S, until
from tests.server.serving import ENDLESS, HeldEngine, Served, chat, generate, refused, serving, streamed

GRACE_S = 4 * PATIENCE_S  # which no server takes that has nothing to wait for
DRAINED, STOP = v1.FinishReason.FINISH_REASON_DRAINED, v1.FinishReason.FINISH_REASON_STOP


async def begun(served: Served, count: int) -> None:
    await until(lambda: len(served.server.service.calls) == count and served.server.engine.load().running == count)


async def test_what_does_not_end_in_time_ends_typed() -> None:
    engine = HeldEngine([ScriptedReply(text="x" * 400, token_delay_s=0.05)])
    async with serving(engine) as served:
        talk = chat(sampling=v1.SamplingParameters(max_tokens=400))
        calls = {
            name: asyncio.ensure_future(served.call(name, request))
            for name, request in {
                "Generate": generate(max_tokens=400),
                "GenerateStream": streamed(max_tokens=400),
                "Chat": talk,
                "ChatStream": v1.ChatStreamRequest(request=talk),
            }.items()
        }
        await begun(served, 4)
        await until(lambda: len(engine.given) == 4 and min(engine.given.values()) >= 3)
        await served.server.stop(0.0)
        answers: dict[str, Any] = dict(zip(calls, await asyncio.gather(*calls.values()), strict=True))
    assert answers["Generate"].completions[0].finish_reason == DRAINED
    assert answers["Generate"].completions[0].text.startswith("xx")
    assert answers["Chat"].choices[0].finish_reason == DRAINED
    for name in ("GenerateStream", "ChatStream"):
        events = answers[name]
        assert [event.WhichOneof("event") for event in events].count("finished") == 1
        assert events[-1].finished.finish_reason == DRAINED
        assert events[-1].finished.usage.completion_tokens >= 2
        assert events[-2].delta.finish_reason == DRAINED
        assert [event.sequence for event in events] == list(range(len(events)))


async def test_what_waits_for_room_ends_typed_too() -> None:
    async with serving(ScriptedEngine([ENDLESS], max_running=1)) as served:
        calls = [asyncio.ensure_future(served.call("GenerateStream", streamed())) for _ in range(3)]
        await until(lambda: served.server.engine.load().waiting == 2)
        await served.server.stop(0.0)
        for events in await asyncio.gather(*calls):
            assert events[-1].finished.finish_reason == DRAINED


async def test_what_ends_in_time_is_whole_and_nothing_new_begins() -> None:
    engine = HeldEngine(["x" * 30], go=False)
    async with serving(engine) as served:
        open_call = asyncio.ensure_future(served.call("GenerateStream", streamed()))
        await begun(served, 1)
        stopping = asyncio.create_task(served.server.stop(GRACE_S))
        await until(lambda: served.server.service.calls.draining)
        for method, request in (("Generate", generate()), ("Embed", v1.EmbedRequest(texts=["x"]))):
            refusal = await refused(served, method, request)
            assert (refusal.code, refusal.retry) == (grpc.StatusCode.UNAVAILABLE, True)
            assert "shutting down" in refusal.message
        assert not await served.healthy()
        engine.go.set()
        await asyncio.wait_for(stopping, PATIENCE_S)
        events = await open_call
        assert events[-1].finished.finish_reason == STOP
        assert "".join(event.delta.text for event in events) == "x" * 30
        assert served.server.engine.state is EngineState.STOPPED


async def test_an_engine_that_dies_while_it_drains_is_not_brought_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("moesaic.server.server._FIRST_RESTART_S", 0.01)
    engine = ScriptedEngine([ENDLESS])
    async with serving(engine) as served:
        call = asyncio.ensure_future(refused(served, "Generate", generate()))
        await begun(served, 1)
        stopping = asyncio.create_task(served.server.stop(GRACE_S))
        await until(lambda: served.server.service.calls.draining)
        engine.die("killed")
        assert (await call).reason == "ENGINE_DEAD"
        await asyncio.wait_for(stopping, PATIENCE_S)
        assert engine.state is EngineState.STOPPED
    assert caplog.records == [], "nobody watches it any more"


@pytest.mark.parametrize("kind", ["unary", "stream"])
async def test_an_answer_that_is_on_its_way_is_not_taken_back(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where gRPC's threads stand still, a call has ended for the service and not yet for its caller."""
    monkeypatch.setattr("moesaic.server.server._TOLD_LOOKS", 10**6)
    answer, sent = getattr(Calls, kind), asyncio.Event()

    async def slowly(self: Calls, *arguments: Any) -> Any:
        response = await answer(self, *arguments)
        await sent.wait()
        return response

    monkeypatch.setattr(Calls, kind, slowly)
    async with serving() as served:
        method, request = {"unary": ("Generate", generate()), "stream": ("GenerateStream", streamed())}[kind]
        call = asyncio.ensure_future(served.call(method, request))
        await until(lambda: len(served.scripted.requests) == 1 and served.idle())
        stopping = asyncio.create_task(served.server.stop(0.0))
        await until(lambda: served.server.service.calls.draining)
        await asyncio.wait({stopping}, timeout=0.2)
        assert not stopping.done()
        sent.set()
        assert await call
        await asyncio.wait_for(stopping, PATIENCE_S)


async def test_a_caller_that_does_not_read_does_not_hold_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moesaic.server.inference._LAST_WORDS_S", 0.3)
    long = ScriptedReply(text="x" * 60_000)
    async with serving(ScriptedEngine([long], context_length=2**17)) as served:
        asked = streamed(max_tokens=60_000, logprobs=1)
        stalled = served.inference.GenerateStream(asked, timeout=4 * PATIENCE_S)
        assert await stalled.read()
        await begun(served, 1)
        began = time.monotonic()
        await served.server.stop(0.0)
        assert time.monotonic() - began < PATIENCE_S
        stalled.cancel()


async def test_stopping_twice_and_at_once() -> None:
    async with serving([ENDLESS]) as served:
        await asyncio.gather(served.server.stop(0.0), served.server.stop(0.0))
        await served.server.stop(0.0)
        await asyncio.wait_for(served.server.wait(), PATIENCE_S)
        assert served.server.engine.state is EngineState.STOPPED
