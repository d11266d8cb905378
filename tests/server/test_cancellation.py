"""Whoever goes away stops costing anything: cancelled calls, closed channels, deadlines, slow readers, storms."""

import asyncio
import logging
import random
from typing import Any

import grpc
import pytest

from moesaic import v1
from moesaic.server.engine import ScriptedEngine, ScriptedReply
from tests.client.waiting import until
from tests.server.serving import ENDLESS, Served, chat, generate, serving, streamed

SLOW = [ENDLESS]
SILENT = [ScriptedReply(delay_s=60.0)]
METHODS = ["Generate", "GenerateStream", "Chat", "ChatStream"]


def started(served: Served, method: str, **options: Any) -> Any:
    """A call that has begun; what it is asked takes longer than any test."""
    sampling = v1.SamplingParameters(max_tokens=400)
    talk = chat(sampling=sampling)
    requests = {
        "Generate": generate(max_tokens=400),
        "GenerateStream": streamed(max_tokens=400),
        "Chat": talk,
        "ChatStream": v1.ChatStreamRequest(request=talk),
    }
    return getattr(served.inference, method)(requests[method], **{"timeout": 60.0, **options})


async def at_work(served: Served, count: int = 1) -> None:
    await until(lambda: served.server.engine.load().running >= count)


def calls_by_code(served: Served) -> dict[str, int]:
    """Ended calls by status code, as the metrics count them."""
    collected = served.server.observation.registry.collect()
    samples = [sample for metric in collected for sample in metric.samples]
    counted: dict[str, int] = {}
    for sample in samples:
        if sample.name == "moesaic_calls_total":
            counted[sample.labels["code"]] = counted.get(sample.labels["code"], 0) + int(sample.value)
    return counted


@pytest.fixture
def quiet(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Any:
    """Nothing is printed and no warning is logged while callers come and go."""
    yield
    lines = "".join(capfd.readouterr()).splitlines()
    assert [line for line in lines if "goaway" not in line] == []  # gRPC's own word about a server that has stopped
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("replies", [SLOW, SILENT], ids=["writing", "waiting"])
@pytest.mark.parametrize("method", METHODS)
async def test_a_cancelled_call_ends_its_work(method: str, replies: list[ScriptedReply]) -> None:
    async with serving(replies) as served:
        call = started(served, method)
        await at_work(served)
        assert len(served.server.service.calls) == 1
        call.cancel()
        await served.until_idle(2)
        assert calls_by_code(served) == {"CANCELLED": 1}


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("method", METHODS)
async def test_a_closed_channel_ends_its_work(method: str) -> None:
    async with serving(SLOW) as served:
        async with grpc.aio.insecure_channel(served.server.target) as channel:
            call = started(Served(server=served.server, channel=channel), method)
            await at_work(served)
        await served.until_idle(2)
        assert call.done()


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("replies", [SLOW, SILENT], ids=["writing", "waiting"])
@pytest.mark.parametrize("method", METHODS)
async def test_a_deadline_ends_its_work(method: str, replies: list[ScriptedReply]) -> None:
    async with serving(replies) as served:
        call = started(served, method, timeout=0.15)
        await at_work(served)
        await served.until_idle(2)
        assert await call.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert sum(calls_by_code(served).values()) == 1
        assert set(calls_by_code(served)) <= {"DEADLINE_EXCEEDED", "CANCELLED"}


async def test_a_call_that_waits_for_room_can_be_cancelled() -> None:
    engine = ScriptedEngine(SLOW, max_running=1)
    async with serving(engine) as served:
        calls = [started(served, "GenerateStream") for _ in range(3)]
        await until(lambda: engine.load().waiting == 2)
        calls[2].cancel()
        await until(lambda: engine.load().waiting == 1)
        calls[0].cancel()
        await until(lambda: engine.load().waiting == 0)
        assert engine.load().running == 1
        calls[1].cancel()
        await served.until_idle(2)


async def test_a_reader_that_stands_still_keeps_nobody_else_waiting() -> None:
    text = ScriptedReply(text="x" * 4000)
    async with serving(ScriptedEngine([text], context_length=8192)) as served:
        stalled = served.inference.GenerateStream(streamed(max_tokens=4000, logprobs=0), timeout=30)
        assert await stalled.read()
        answers = await asyncio.gather(*(served.call("Generate", generate()) for _ in range(8)))
        assert len(answers) == 8
        stalled.cancel()
        await served.until_idle(2)


@pytest.mark.usefixtures("quiet")
async def test_a_storm_of_cancellations_leaves_nothing_behind() -> None:
    """2,000 calls of every kind, cancelled at random moments: before, while and after they are served."""
    draw = random.Random(11)
    engine = ScriptedEngine([ScriptedReply(text="x" * 60, token_delay_s=0.001)], context_length=512, max_running=16)
    async with serving(engine) as served:
        for _ in range(20):
            calls = [started(served, draw.choice(METHODS)) for _ in range(100)]
            draw.shuffle(calls)
            await at_work(served, 8)
            for rank, call in enumerate(calls):
                if rank % 5 == 0:
                    await asyncio.sleep(draw.random() * 0.006)
                call.cancel()
        await served.until_idle()
        counted = calls_by_code(served)
        assert set(counted) <= {"OK", "CANCELLED"}
        assert counted["CANCELLED"] > 500
        assert (await served.call("Generate", generate())).completions[0].text == "x" * 60


async def test_a_cancelled_embedding_and_score_leave_nothing_behind() -> None:
    async with serving() as served:
        texts = v1.EmbedRequest(texts=["word " * 40] * 256)
        pairs = v1.ScoreRequest(continuations=[v1.TextOrTokens(text="x" * 400)] * 256)
        calls = [served.inference.Embed(texts, timeout=30), served.inference.Score(pairs, timeout=30)]
        await asyncio.sleep(0.02)
        for call in calls:
            call.cancel()
        await served.until_idle(5)
        assert len((await served.call("Embed", v1.EmbedRequest(texts=["x"]))).embeddings) == 1
