"""The server over the real engine: what cancelling, aborting and killing leave behind, by the engine's own counters.

The last test kills the engine's process; the server brings it back.
"""

import asyncio
import json
import os
import random
import re
import signal
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from moesaic import v1
from moesaic.server.engine import EngineLoad, EngineState, VllmEngine
from tests.client.waiting import PATIENCE_S, until
from tests.server.engine.asking import LONG_ANSWER
from tests.server.serving import Served, chat, generate, refused, streamed

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

SCHEMA = {
    "type": "object",
    "properties": {"where": {"$ref": "#/$defs/place"}, "days": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["where", "days"],
    "additionalProperties": False,
    "$defs": {"place": {"type": "string", "enum": ["叶", "stem"]}},
}
TOOLS = [
    v1.Tool(name="look_up", description="Looks up.", parameters_json_schema=json.dumps(SCHEMA)),
    v1.Tool(name="stop"),
]


@pytest.fixture
def served(engine_served: Served) -> Served:
    return engine_served


def long_stream(**options: Any) -> v1.GenerateStreamRequest:
    return streamed("Hello", max_tokens=LONG_ANSWER, ignore_eos=True, **options)


async def text_of(served: Served, request: v1.GenerateRequest) -> str:
    return str((await served.call("Generate", request, timeout=240)).completions[0].text)


async def test_a_stream_says_what_a_whole_answer_says(served: Served) -> None:
    for seed in range(3):
        asked = generate("Hello", max_tokens=40, seed=seed, ignore_eos=True, logprobs=2)
        whole = (await served.call("Generate", asked, timeout=240)).completions[0]
        events = await served.call("GenerateStream", v1.GenerateStreamRequest(request=asked), timeout=240)
        assert "".join(event.delta.text for event in events) == whole.text
        assert [token for event in events for token in event.delta.token_ids] == list(whole.token_ids)
        assert len([one for event in events for one in event.delta.logprobs]) == len(whole.logprobs) == 40
        assert {len(one.top) for one in whole.logprobs} == {2}
        assert [event.WhichOneof("event") for event in events[:: len(events) - 1]] == ["started", "finished"]
        assert [event.sequence for event in events] == list(range(len(events)))
        assert events[0].started.weight_version == served.server.service.model.weight_version
        assert events[-1].finished.usage.completion_tokens == 40


async def test_several_sequences_over_the_wire(served: Served) -> None:
    asked = streamed("Hello", n=3, seed=1, max_tokens=12, ignore_eos=True)
    events = await served.call("GenerateStream", asked, timeout=240)
    ends = [event.delta.index for event in events if event.delta.finish_reason]
    assert sorted(ends) == [0, 1, 2]
    assert events[-1].finished.usage.completion_tokens == 36


async def test_forms_are_kept_over_the_wire(served: Served) -> None:
    form = v1.Constraint
    choice = form(choice=v1.Choices(texts=["叶绿素", "chlorophyll"]))
    assert await text_of(served, generate(constraint=choice, seed=2)) in choice.choice.texts
    code = await text_of(served, generate(constraint=form(regex="[a-f]{3}-[0-9]{2}"), seed=3))
    assert re.fullmatch("[a-f]{3}-[0-9]{2}", code)
    value = json.loads(await text_of(served, generate(constraint=form(json_schema=json.dumps(SCHEMA)), seed=4)))
    assert value["where"] in ("叶", "stem")
    grammar = 'root ::= ("ab" | "cd") "!"'
    assert await text_of(served, generate(constraint=form(grammar=grammar), seed=5)) in ("ab!", "cd!")


@pytest.mark.parametrize(
    ("constraint", "form"),
    [
        (v1.Constraint(regex="[a-"), "regex"),
        (v1.Constraint(grammar="no rule"), "grammar"),
        (v1.Constraint(json_schema='{"type": "nothing"}'), "json_schema"),
        (v1.Constraint(json_schema='{"$ref": "#/$defs/none"}'), "json_schema"),
    ],
    ids=str,
)
async def test_what_only_the_compiler_can_refuse(served: Served, constraint: v1.Constraint, form: str) -> None:
    for method, request in (
        ("Generate", generate(constraint=constraint)),
        ("ChatStream", v1.ChatStreamRequest(request=chat(sampling=v1.SamplingParameters(constraint=constraint)))),
    ):
        refusal = await refused(served, method, request, timeout=240)
        assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT, refusal
        assert refusal.field == f"sampling.constraint.{form}"
    await served.until_idle()


@pytest.mark.parametrize("choice", [v1.ToolChoice(mode=v1.ToolMode.TOOL_MODE_REQUIRED), v1.ToolChoice(name="look_up")])
async def test_a_call_that_must_be_made_satisfies_its_schema(served: Served, choice: v1.ToolChoice) -> None:
    for seed in range(4):
        sampling = v1.SamplingParameters(seed=seed, max_tokens=200)
        answer = await served.call("Chat", chat(tools=TOOLS, tool_choice=choice, sampling=sampling), timeout=240)
        [call] = answer.choices[0].message.tool_calls
        assert answer.choices[0].finish_reason == v1.FinishReason.FINISH_REASON_TOOL_CALLS
        assert answer.choices[0].message.content == ""
        arguments = json.loads(call.arguments)
        if call.name == "look_up":
            assert arguments["where"] in ("叶", "stem")
            assert 0 <= arguments["days"] <= 9
        else:
            assert (call.name, arguments) == ("stop", {})


async def test_tools_that_may_be_called_leave_speech_free(served: Served) -> None:
    sampling = v1.SamplingParameters(seed=1, max_tokens=20)
    answer = await served.call("Chat", chat(tools=TOOLS, sampling=sampling), timeout=240)
    assert answer.usage.completion_tokens <= 20
    bad = v1.Tool(name="bad", parameters_json_schema='{"properties": {"a": {"$ref": "#/$defs/none"}}}')
    refusal = await refused(served, "Chat", chat(tools=[bad], sampling=sampling), timeout=240)
    assert (refusal.code, refusal.field) == (grpc.StatusCode.INVALID_ARGUMENT, "tools")


async def test_a_score_is_the_engine_s_own(served: Served, vllm_engine: VllmEngine) -> None:
    prompt, rest = tuple(b"leaves are "), tuple("绿".encode())
    continuations = [v1.TextOrTokens(token_ids=v1.TokenIds(ids=rest)), v1.TextOrTokens(text="green")]
    asked = v1.ScoreRequest(prompt=v1.TextOrTokens(token_ids=v1.TokenIds(ids=prompt)), continuations=continuations)
    answer = await served.call("Score", asked, timeout=240)
    [row] = await vllm_engine.score([[*prompt, *rest]])
    assert [one.logprob for one in answer.scores[0].tokens] == pytest.approx(row[len(prompt) - 1 :], abs=1e-4)
    assert answer.scores[0].logprob == pytest.approx(sum(row[len(prompt) - 1 :]), abs=1e-4)
    assert len(answer.scores[1].tokens) == 5


async def test_an_abort_ends_a_stream_typed(served: Served) -> None:
    stream = served.inference.GenerateStream(long_stream(request_id="mine"), timeout=240)
    assert (await stream.read()).started.request_id == "mine"
    outcome = (await served.call("Abort", v1.AbortRequest(request_id="mine"))).outcome
    assert outcome == v1.AbortOutcome.ABORT_OUTCOME_ABORTED
    last = None
    while (event := await stream.read()) is not grpc.aio.EOF:
        last = event
    assert last is not None
    assert last.finished.finish_reason == v1.FinishReason.FINISH_REASON_ABORTED
    assert last.finished.usage.completion_tokens > 0
    await served.until_idle()


async def test_an_abort_finds_a_call_from_its_first_moment(served: Served) -> None:
    """Also while the engine is still compiling its grammar."""
    names = [f"p{index}" for index in range(200)]  # all required: an empty object could be finished before the abort
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": names}
    constraint = v1.Constraint(json_schema=json.dumps(schema))
    asked = generate(request_id="new", constraint=constraint, max_tokens=LONG_ANSWER)
    call = served.inference.Generate(asked, timeout=240)
    await until(lambda: len(served.server.service.calls) == 1)
    outcome = (await served.call("Abort", v1.AbortRequest(request_id="new"))).outcome
    assert outcome == v1.AbortOutcome.ABORT_OUTCOME_ABORTED
    assert (await call).completions[0].finish_reason == v1.FinishReason.FINISH_REASON_ABORTED
    await served.until_idle()


async def test_2000_random_cancels_leave_the_engine_at_its_baseline(served: Served) -> None:
    draw = random.Random(17)
    await served.until_idle()  # what the test before aborted may still be on its way out
    long = v1.SamplingParameters(max_tokens=LONG_ANSWER, ignore_eos=True)
    made = 0
    while made < 2000:
        calls: list[Any] = []
        for _ in range(20):  # the engine's queue holds 24
            kind = draw.choice(["Generate", "GenerateStream", "ChatStream", "Score", "constrained"])
            if kind == "GenerateStream":
                call = served.inference.GenerateStream(long_stream(n=1), timeout=240)
            elif kind == "Generate":
                call = served.inference.Generate(generate("x" * draw.randint(1, 300), max_tokens=2000), timeout=240)
            elif kind == "ChatStream":
                call = served.inference.ChatStream(v1.ChatStreamRequest(request=chat(sampling=long)), timeout=240)
            elif kind == "Score":
                texts = [v1.TextOrTokens(text="y" * 200)] * 4
                call = served.inference.Score(v1.ScoreRequest(continuations=texts), timeout=240)
            else:
                constraint = v1.Constraint(regex=f"[a-z]{{{draw.randint(50, 2000)}}}")
                call = served.inference.Generate(generate(constraint=constraint, max_tokens=2000), timeout=240)
            calls.append(call)
        draw.shuffle(calls)
        for call in calls:
            if draw.random() < 0.3:
                await asyncio.sleep(draw.random() * 0.02)
            call.cancel()
        made += len(calls)
        await asyncio.gather(*(call.code() for call in calls))
    await served.until_idle()
    assert served.server.engine.load() == EngineLoad()
    assert len(served.server.service.calls) == 0
    assert len(await text_of(served, generate(max_tokens=8, ignore_eos=True))) >= 1


async def test_deadlines_and_lost_connections_free_the_engine(served: Served) -> None:
    async with grpc.aio.insecure_channel(served.server.target) as channel:
        other = Served(server=served.server, channel=channel)
        for _ in range(4):
            await other.inference.GenerateStream(long_stream(), timeout=240).read()
        assert served.server.engine.load().running >= 1
    await served.until_idle()
    calls = [served.inference.Generate(long_stream().request, timeout=0.2) for _ in range(6)]
    assert {await call.code() for call in calls} == {grpc.StatusCode.DEADLINE_EXCEEDED}
    await served.until_idle()


async def test_a_killed_engine_is_never_a_success_and_comes_back(served: Served, vllm_engine: VllmEngine) -> None:
    states: list[int] = []

    async def watch() -> None:
        async for answer in served.health.Watch(health_pb2.HealthCheckRequest(service="moesaic.v1.InferenceService")):
            states.append(answer.status)  # noqa: PERF401

    watching = asyncio.create_task(watch())
    before = await text_of(served, generate("Hello", max_tokens=12, temperature=0.0))
    # As many as the engine computes at once.
    streams = [served.inference.GenerateStream(long_stream(), timeout=240) for _ in range(4)]
    unary = [served.inference.Generate(long_stream().request, timeout=240) for _ in range(4)]
    for stream in streams:
        assert (await stream.read()).HasField("started")
    assert vllm_engine.process_id is not None
    os.kill(vllm_engine.process_id, signal.SIGKILL)

    async def end(stream: Any) -> tuple[grpc.StatusCode, bool]:
        """How a stream ended, and whether it claimed to be whole."""
        whole = False
        try:
            while (event := await stream.read()) is not grpc.aio.EOF:
                whole = whole or event.HasField("finished")
        except grpc.aio.AioRpcError as error:
            return error.code(), whole
        return grpc.StatusCode.OK, whole

    ends = await asyncio.wait_for(asyncio.gather(*(end(stream) for stream in streams)), PATIENCE_S)
    assert set(ends) == {(grpc.StatusCode.UNAVAILABLE, False)}
    assert {await call.code() for call in unary} == {grpc.StatusCode.UNAVAILABLE}
    await until(lambda: health_pb2.HealthCheckResponse.NOT_SERVING in states)
    assert (await refused(served, "Generate", generate())).code == grpc.StatusCode.UNAVAILABLE
    await until(lambda: vllm_engine.state is EngineState.READY, within_s=300)
    await until(lambda: states[-1] == health_pb2.HealthCheckResponse.SERVING)
    assert await text_of(served, generate("Hello", max_tokens=12, temperature=0.0)) == before
    await served.until_idle()
    watching.cancel()
