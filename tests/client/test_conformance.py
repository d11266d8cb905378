"""What every client does, over a real server and in process: one suite, so that nobody above knows the difference."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, NamedTuple

import pytest

from moesaic import errors, v1
from moesaic.client import AsyncClient, Client, InferenceClient
from moesaic.retrieval import ScriptedEmbedder
from moesaic.server import InProcessClient, MoesaicServer, ServerConfig
from moesaic.server.engine import ScriptedEngine, ScriptedReply, running
from tests.client.threaded_client import ThreadedClient
from tests.client.waiting import GROWING_S, until

STOP = v1.FinishReason.FINISH_REASON_STOP
ABORTED = v1.FinishReason.FINISH_REASON_ABORTED
NEVER = 300.0  # seconds that no test waits for
GREEN = "叶子是绿的 because of 🌿"

WAYS: dict[str, Callable[[MoesaicServer], InferenceClient]] = {
    "async": lambda server: AsyncClient(server.target, retries=0),
    "sync": lambda server: ThreadedClient(Client(server.target, retries=0)),
    "in process": lambda server: InProcessClient(server.service),
}


class Scene(NamedTuple):
    """A client, and the engine at the other end."""

    client: InferenceClient
    engine: ScriptedEngine


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def replies(request: pytest.FixtureRequest) -> Any:
    """What the engine says; a test changes it by parametrizing it indirectly."""
    return getattr(request, "param", [GREEN])


@pytest.fixture
async def scene(way: str, replies: Any) -> AsyncIterator[Scene]:
    engine = ScriptedEngine(replies, context_length=512, max_running=2, max_waiting=1)
    async with running(engine):
        config = ServerConfig(listen="127.0.0.1:0")
        server = MoesaicServer(engine, config, model_name="tiny", embedder=ScriptedEmbedder())
        await server.start()
        client = WAYS[way](server)
        try:
            yield Scene(client, engine)
        finally:
            await client.aclose()
            await server.stop()


def prompt(text: str = "Why?", **options: Any) -> v1.GenerateRequest:
    sampling = v1.SamplingParameters(**{"max_tokens": 64} | options)
    return v1.GenerateRequest(prompt=v1.TextOrTokens(text=text), sampling=sampling)


def conversation(text: str = "Why?", **options: Any) -> v1.ChatRequest:
    messages = [v1.ChatMessage(role=v1.Role.ROLE_USER, content=text)]
    return v1.ChatRequest(messages=messages, sampling=v1.SamplingParameters(**{"max_tokens": 64} | options))


async def until_idle(engine: ScriptedEngine) -> None:
    """Wait until the engine computes nothing."""
    await until(lambda: engine.load().running + engine.load().waiting == 0)


async def test_generate(scene: Scene) -> None:
    answer = await scene.client.generate(prompt())
    [completion] = answer.completions
    assert (completion.text, completion.finish_reason, answer.model) == (GREEN, STOP, "tiny")
    assert answer.usage.prompt_tokens == len("Why?")
    assert answer.usage.completion_tokens == len(completion.token_ids) == len(GREEN.encode()) + 1
    assert answer.weight_version
    assert answer.request_id


@pytest.mark.parametrize("call", ["generate_stream", "chat_stream"])
async def test_streams(scene: Scene, call: str) -> None:
    if call == "generate_stream":
        stream: Any = scene.client.generate_stream(v1.GenerateStreamRequest(request=prompt()))
    else:
        stream = scene.client.chat_stream(v1.ChatStreamRequest(request=conversation()))
    events = [event async for event in stream]
    kinds = [event.WhichOneof("event") for event in events]
    assert (kinds[0], kinds[-1], set(kinds[1:-1])) == ("started", "finished", {"delta"})
    assert [event.sequence for event in events] == list(range(len(events)))
    assert "".join(event.delta.text for event in events) == GREEN
    assert (events[0].started.model, events[-1].finished.finish_reason) == ("tiny", STOP)
    assert events[-1].finished.usage.completion_tokens == len(GREEN.encode()) + 1


async def test_chat(scene: Scene) -> None:
    answer = await scene.client.chat(conversation("为什么？"))
    [choice] = answer.choices
    assert (choice.message.content, choice.message.role) == (GREEN, v1.Role.ROLE_ASSISTANT)
    assert "为什么？" in bytes(scene.engine.requests[0].prompt_token_ids).decode()


async def test_several_answers(scene: Scene) -> None:
    answer = await scene.client.generate(prompt(n=3, temperature=1.0))
    assert [(one.index, one.text) for one in answer.completions] == [(rank, GREEN) for rank in range(3)]


async def test_score(scene: Scene) -> None:
    texts = [v1.TextOrTokens(text="绿"), v1.TextOrTokens(token_ids=v1.TokenIds(ids=[65, 66]))]
    answer = await scene.client.score(v1.ScoreRequest(prompt=v1.TextOrTokens(text="Why?"), continuations=texts))
    assert [len(score.tokens) for score in answer.scores] == [3, 2]
    assert [score.logprob for score in answer.scores] == pytest.approx([-1.5, -1.0])


async def test_embed(scene: Scene) -> None:
    answer = await scene.client.embed(v1.EmbedRequest(texts=["green leaves", "绿色"]))
    assert [len(embedding.values) for embedding in answer.embeddings] == [64, 64]
    assert sum(value * value for value in answer.embeddings[0].values) == pytest.approx(1.0, abs=1e-5)


async def test_tokens_and_back(scene: Scene) -> None:
    tokens = (await scene.client.tokenize(v1.TokenizeRequest(text=GREEN))).token_ids
    assert (await scene.client.detokenize(v1.DetokenizeRequest(token_ids=tokens))).text == GREEN


async def test_discovery(scene: Scene) -> None:
    info = await scene.client.get_server_info(v1.GetServerInfoRequest())
    assert (info.api_version, info.limits.context_length) == ("moesaic.v1", 512)
    assert v1.Capability.CAPABILITY_EMBED in info.capabilities
    assert info.sandbox_tier != v1.SandboxTier.SANDBOX_TIER_UNSPECIFIED
    model = await scene.client.get_model_info(v1.GetModelInfoRequest())
    assert (model.model, model.has_chat_template) == ("tiny", True)
    load = await scene.client.get_load(v1.GetLoadRequest())
    assert (load.running, load.waiting) == (0, 0)


@pytest.mark.parametrize("replies", [[ScriptedReply(text=GREEN, token_delay_s=NEVER)]], indirect=True, ids=["slow"])
async def test_abort(scene: Scene) -> None:
    request = prompt()
    request.request_id = "mine"
    async with aclosing(scene.client.generate_stream(v1.GenerateStreamRequest(request=request))) as stream:
        assert (await anext(stream)).started.request_id == "mine"
        outcome = (await scene.client.abort(v1.AbortRequest(request_id="mine"))).outcome
        assert outcome == v1.AbortOutcome.ABORT_OUTCOME_ABORTED
        events = [event async for event in stream]
    assert events[-1].finished.finish_reason == ABORTED
    outcome = (await scene.client.abort(v1.AbortRequest(request_id="mine"))).outcome
    assert outcome == v1.AbortOutcome.ABORT_OUTCOME_NOT_FOUND


async def test_values_outside_their_range(scene: Scene) -> None:
    with pytest.raises(errors.RequestError, match="top_p") as raised:
        await scene.client.generate(prompt(top_p=2.0))
    assert raised.value.field.endswith("top_p")
    with pytest.raises(errors.RequestError):
        [event async for event in scene.client.chat_stream(v1.ChatStreamRequest())]


async def test_what_does_not_fit(scene: Scene) -> None:
    with pytest.raises(errors.RequestError, match="512"):
        await scene.client.generate(prompt("long " * 200))


async def test_an_unknown_model(scene: Scene) -> None:
    request = prompt()
    request.model = "big"
    with pytest.raises(errors.NotFoundError, match="'big'") as raised:
        await scene.client.generate(request)
    assert (raised.value.kind, raised.value.name) == ("model", "big")


@pytest.mark.parametrize("replies", [[ScriptedReply(delay_s=NEVER)]], indirect=True, ids=["slow"])
async def test_a_queue_that_is_full(scene: Scene) -> None:
    kinds: set[type] = set()
    for timeout_s in GROWING_S:
        asking = [asyncio.ensure_future(scene.client.generate(prompt(), timeout_s=timeout_s)) for _ in range(6)]
        kinds |= {type(outcome) for outcome in await asyncio.gather(*asking, return_exceptions=True)}
        await until_idle(scene.engine)
        if errors.EngineOverloadedError in kinds:  # else they had no time to arrive together
            break
    assert kinds == {errors.EngineOverloadedError, errors.DeadlineExceededError}


@pytest.mark.parametrize("replies", [[ScriptedReply(text=GREEN, dies_after=3)]], indirect=True, ids=["dying"])
async def test_an_engine_that_dies(scene: Scene) -> None:
    with pytest.raises(errors.EngineDeadError):
        [event async for event in scene.client.generate_stream(v1.GenerateStreamRequest(request=prompt()))]


@pytest.mark.parametrize("replies", [[ScriptedReply(text=GREEN, token_delay_s=NEVER)]], indirect=True, ids=["slow"])
async def test_a_deadline_ends_the_work(scene: Scene) -> None:
    with pytest.raises(errors.DeadlineExceededError, match=r"0\.3 s"):
        await scene.client.generate(prompt(), timeout_s=0.3)
    stream = scene.client.generate_stream(v1.GenerateStreamRequest(request=prompt()), timeout_s=0.3)
    with pytest.raises(errors.DeadlineExceededError):
        [event async for event in stream]
    await until_idle(scene.engine)


@pytest.mark.parametrize("replies", [[ScriptedReply(text="green", token_delay_s=NEVER)]], indirect=True, ids=["slow"])
async def test_a_closed_stream_ends_the_work(scene: Scene) -> None:
    stream = scene.client.chat_stream(v1.ChatStreamRequest(request=conversation()))
    async with aclosing(stream):
        async for event in stream:
            if event.delta.text:
                break
        assert scene.engine.load().running == 1
    await until_idle(scene.engine)


@pytest.mark.parametrize("way", ["async", "in process"])
@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("replies", [[ScriptedReply(delay_s=NEVER)]], indirect=True, ids=["slow"])
async def test_a_cancelled_task_ends_the_work(scene: Scene, streaming: bool) -> None:
    async def ask() -> None:
        if streaming:
            async for _ in scene.client.chat_stream(v1.ChatStreamRequest(request=conversation())):
                pass
        else:
            await scene.client.chat(conversation())

    asking = asyncio.create_task(ask())
    await until(lambda: scene.engine.load().running == 1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await until_idle(scene.engine)


async def test_many_at_once(scene: Scene) -> None:
    answers = await asyncio.gather(*(scene.client.chat(conversation(f"question {rank}")) for rank in range(2)))
    assert [answer.choices[0].message.content for answer in answers] == [GREEN] * 2
    assert len({answer.request_id for answer in answers}) == 2
