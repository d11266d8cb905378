"""Whoever goes away stops costing anything: cancelled calls, closed channels, deadlines, slow readers, storms."""

import asyncio
import logging
import random
from typing import Any

import grpc
import pytest

from moesaic import v1
from moesaic.server.engine import GenerateRequest, ScriptedEngine, ScriptedReply
from tests.client.waiting import GROWING_S, PATIENCE_S, until
from tests.server.serving import ENDLESS, Served, chat, generate, serving, streamed

SLOW = [ENDLESS]
SILENT = [ScriptedReply(delay_s=300.0)]
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
    return getattr(served.inference, method)(requests[method], **{"timeout": PATIENCE_S, **options})


async def at_work(served: Served) -> None:
    await until(lambda: served.server.engine.load().running >= 1)


async def accepted(engine: ScriptedEngine, count: int) -> None:
    await until(lambda: len(engine.requests) >= count)


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
        await served.until_idle()
        assert calls_by_code(served) == {"CANCELLED": 1}


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("method", METHODS)
async def test_a_closed_channel_ends_its_work(method: str) -> None:
    async with serving(SLOW) as served:
        async with grpc.aio.insecure_channel(served.server.target) as channel:
            call = started(Served(server=served.server, channel=channel), method)
            await at_work(served)
        await served.until_idle()
        await until(call.done)  # the two sides hear of it one after the other


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("replies", [SLOW, SILENT], ids=["writing", "waiting"])
@pytest.mark.parametrize("method", METHODS)
async def test_a_deadline_ends_its_work(method: str, replies: list[ScriptedReply]) -> None:
    async with serving(replies) as served:
        made = 0
        while not served.scripted.requests:  # a deadline that passed before the call arrived says nothing
            call = started(served, method, timeout=GROWING_S[made])
            made += 1
            assert await call.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            await served.until_idle()
        assert 1 <= sum(calls_by_code(served).values()) <= made
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
        await served.until_idle()


async def test_a_reader_that_stands_still_keeps_nobody_else_waiting() -> None:
    text = ScriptedReply(text="x" * 4000)
    async with serving(ScriptedEngine([text], context_length=8192)) as served:
        stalled = served.inference.GenerateStream(streamed(max_tokens=4000, logprobs=0), timeout=PATIENCE_S)
        assert await stalled.read()
        answers = await asyncio.gather(*(served.call("Generate", generate()) for _ in range(8)))
        assert len(answers) == 8
        stalled.cancel()
        await served.until_idle()


@pytest.mark.usefixtures("quiet")
async def test_a_storm_of_cancellations_leaves_nothing_behind() -> None:
    """2,000 calls of every kind, cancelled at random moments: before, while and after they are served."""
    draw = random.Random(11)
    short = ScriptedReply(text="x" * 60, token_delay_s=0.001)
    endless = 0

    def script(request: GenerateRequest) -> ScriptedReply:
        """Two of three answers do not end by themselves: they are at work when they are cancelled."""
        nonlocal endless
        if request.sampling.max_tokens < 400 or len(engine.requests) % 3 == 0:
            return short
        endless += 1
        return ENDLESS

    engine = ScriptedEngine(script, context_length=512, max_running=16)
    async with serving(engine) as served:
        for _ in range(20):
            calls = [started(served, draw.choice(METHODS)) for _ in range(100)]
            draw.shuffle(calls)
            await accepted(engine, len(engine.requests) + 8)
            for rank, call in enumerate(calls):
                if rank % 5 == 0:
                    await asyncio.sleep(draw.random() * 0.006)
                call.cancel()
        await served.until_idle()
        counted = calls_by_code(served)
        assert set(counted) <= {"OK", "CANCELLED"}
        assert counted["CANCELLED"] >= endless >= 20 * 8 * 2 // 3
        assert served.server._calls is not None
        calls_served = served.server._calls
        await until(lambda: calls_served.untold == 0)
        assert (await served.call("Generate", generate())).completions[0].text == "x" * 60


async def test_a_cancelled_embedding_and_score_leave_nothing_behind() -> None:
    async with serving() as served:
        texts = v1.EmbedRequest(texts=["word " * 40] * 256)
        pairs = v1.ScoreRequest(continuations=[v1.TextOrTokens(text="x" * 400)] * 256)
        calls = [served.inference.Embed(texts, timeout=PATIENCE_S), served.inference.Score(pairs, timeout=PATIENCE_S)]
        await asyncio.sleep(0.02)
        for call in calls:
            call.cancel()
        await served.until_idle()
        assert len((await served.call("Embed", v1.EmbedRequest(texts=["x"]))).embeddings) == 1
