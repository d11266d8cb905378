"""The double follows its script, and fails as a real engine does."""

import asyncio

import pytest

from moesaic.errors import EngineDeadError, EngineError, EngineOverloadedError, InputError
from moesaic.server.engine import EngineLoad, EngineState, FinishReason, ScriptedEngine, ScriptedReply, running
from moesaic.server.engine.scripted_tokenizer import ByteTokenizer
from tests.server.engine.asking import ask, eventually, request


async def test_replies_come_in_order_and_the_last_one_stays() -> None:
    engine = ScriptedEngine(["one", ScriptedReply(text="二")])
    async with running(engine):
        texts = [(await ask(engine, request()))[0].text for _ in range(3)]

    assert texts == ["one", "二", "二"]
    assert engine.state is EngineState.STOPPED
    assert len(engine.requests) == 3


async def test_a_reply_may_depend_on_the_request() -> None:
    engine = ScriptedEngine(lambda asked: engine.tokenizer.decode(asked.prompt_token_ids)[::-1])
    async with running(engine):
        (answer,) = await ask(engine, request("回文"))

    assert answer.text == "文回"
    assert answer.finish_reason is FinishReason.STOP
    assert answer.token_ids[-1] == ByteTokenizer.eos_token_id


async def test_a_scripted_death_takes_every_request_with_it() -> None:
    replies = [ScriptedReply(text="slow", token_delay_s=30), ScriptedReply(text="boom", dies_after=2)]
    engine = ScriptedEngine(replies)
    await engine.start()
    other = asyncio.create_task(ask(engine, request()))
    await eventually(lambda: engine.load() == EngineLoad(running=1, kv_cache_usage=1 / 8))
    stream = engine.generate(request())
    assert [(await anext(stream)).text, (await anext(stream)).text] == ["b", "o"]
    with pytest.raises(EngineDeadError, match="the script says so; start it again"):
        await anext(stream)

    with pytest.raises(EngineDeadError):
        await other

    assert engine.state == EngineState.FAILED
    assert "script" in str(await engine.wait_failed())
    with pytest.raises(EngineDeadError):
        engine.generate(request())

    await engine.start()
    assert (await ask(engine, request(max_tokens=1)))[0].text == "b"
    await engine.stop()


async def test_the_queue_is_bounded_and_waiting_requests_can_be_aborted() -> None:
    engine = ScriptedEngine([ScriptedReply(delay_s=30)], max_running=1, max_waiting=1)
    async with running(engine):
        tasks = [asyncio.create_task(ask(engine, request(request_id=name))) for name in ("first", "second")]
        await eventually(lambda: engine.load() == EngineLoad(running=1, waiting=1, kv_cache_usage=1.0))
        with pytest.raises(EngineOverloadedError, match="2 requests are open"):
            await ask(engine, request())

        assert await engine.abort("second")
        assert (await tasks[1])[0].finish_reason is FinishReason.ABORT
        assert await engine.abort("first")
        assert (await tasks[0])[0].finish_reason is FinishReason.ABORT
        assert engine.load() == EngineLoad()


async def test_it_must_be_started_and_have_a_reply() -> None:
    with pytest.raises(EngineError, match="stopped: await start"):
        ScriptedEngine().generate(request())

    with pytest.raises(InputError, match="replies is empty"):
        ScriptedEngine([])


def test_bytes_survive_the_tokenizer() -> None:
    tokenizer = ByteTokenizer()
    text = "naïve 世界 🦉"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode([72, 105, 256], skip_special_tokens=True) == "Hi"
    assert tokenizer.decode([72, 105, 256]) == "Hi</s>"
    messages = [{"role": "user", "content": "你好"}]
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert prompt == "user: 你好\nassistant: "
    assert tokenizer.apply_chat_template(messages) == list("user: 你好\n".encode())
