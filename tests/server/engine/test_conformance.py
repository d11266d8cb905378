"""What every engine must do, by the capabilities that it declares."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from moesaic.artifact import ModelArtifact
from moesaic.errors import EngineError, RequestError, UnsupportedFeatureError
from moesaic.server.engine import (
    Capability,
    Engine,
    EngineLoad,
    EngineState,
    FinishReason,
    ScriptedEngine,
    ScriptedReply,
    TransformersEngine,
)
from tests.server.engine.asking import LONG_ANSWER, ask, eventually, request

pytestmark = pytest.mark.asyncio(loop_scope="session")

KINDS = ["scripted", "transformers", pytest.param("vllm", marks=pytest.mark.engine)]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def scripted_engine() -> AsyncIterator[Engine]:
    engine = ScriptedEngine([ScriptedReply(text="The answer is 42, 答案是四十二。" * 8, token_delay_s=0.001)])
    await engine.start()
    yield engine
    await engine.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def transformers_engine(tiny_artifact: ModelArtifact) -> AsyncIterator[Engine]:
    engine = TransformersEngine(tiny_artifact)
    await engine.start()
    yield engine
    await engine.stop()


@pytest.fixture(params=KINDS)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine, ready."""
    engine: Engine = request.getfixturevalue(f"{request.param}_engine")
    assert engine.state is EngineState.READY
    return engine


async def test_every_engine_declares_the_basics(engine: Engine) -> None:
    assert engine.capabilities >= {Capability.GENERATE, Capability.STREAM, Capability.SCORE, Capability.ABORT}
    assert engine.limits.context_length > 1


async def test_the_longest_answer_ends_with_length_and_usage(engine: Engine) -> None:
    prompt = tuple(range(30, 45))
    (answer,) = await ask(engine, request(prompt, max_tokens=12, temperature=0.0, ignore_eos=True))
    assert len(answer.token_ids) == 12
    assert answer.finish_reason is FinishReason.LENGTH
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (15, 12)


async def test_text_is_the_decoded_tokens(engine: Engine) -> None:
    prompt = tuple(engine.tokenizer.encode("Hello"))
    (answer,) = await ask(engine, request(prompt, max_tokens=40, temperature=0.0))
    ends = answer.finish_reason is FinishReason.STOP
    decoded = engine.tokenizer.decode(list(answer.token_ids[: -1 if ends else None]), skip_special_tokens=True)
    assert answer.text
    # What follows the last complete character may still be missing.
    assert decoded.startswith(answer.text)
    assert len(decoded) - len(answer.text) <= 3


async def test_tokens_arrive_one_after_another(engine: Engine) -> None:
    stream = engine.generate(request(max_tokens=LONG_ANSWER, ignore_eos=True))
    first = await anext(stream)
    assert 1 <= len(first.token_ids) < 200
    await stream.aclose()


async def test_greedy_answers_repeat(engine: Engine) -> None:
    first, second = [await ask(engine, request(max_tokens=20, temperature=0.0)) for _ in range(2)]
    assert first[0].token_ids == second[0].token_ids


async def test_a_stop_token_ends_the_answer_without_text(engine: Engine) -> None:
    (whole,) = await ask(engine, request(max_tokens=20, temperature=0.0, ignore_eos=True))
    stop = whole.token_ids[10]
    first = whole.token_ids.index(stop)
    (cut,) = await ask(engine, request(max_tokens=20, temperature=0.0, ignore_eos=True, stop_token_ids=(stop,)))
    assert cut.token_ids == whole.token_ids[: first + 1]
    assert cut.finish_reason is FinishReason.STOP
    assert whole.text.startswith(cut.text)


async def test_a_stop_string_is_cut_off(engine: Engine) -> None:
    (whole,) = await ask(engine, request(max_tokens=60, temperature=0.0, ignore_eos=True))
    stop = whole.text[len(whole.text) // 2 :][:3]
    assert len(stop) == 3
    (cut,) = await ask(engine, request(max_tokens=60, temperature=0.0, ignore_eos=True, stop=("\0never", stop)))
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish_reason is FinishReason.STOP
    assert stop not in cut.text


async def test_seeds_decide_the_draw(engine: Engine) -> None:
    assert Capability.SEED in engine.capabilities
    one, same = [await ask(engine, request(max_tokens=24, seed=1, ignore_eos=True)) for _ in range(2)]
    assert one[0].token_ids == same[0].token_ids


async def test_several_sequences_share_a_prompt(engine: Engine) -> None:
    answers = await ask(engine, request(max_tokens=10, n=3, seed=5, ignore_eos=True))
    assert [len(answer.token_ids) for answer in answers] == [10, 10, 10]
    assert answers[0].usage is not None
    assert answers[0].usage.completion_tokens == 30
    alone = await ask(engine, request(max_tokens=10, seed=6, ignore_eos=True))
    assert answers[1].token_ids == alone[0].token_ids, "sequence i draws with seed + i"


async def test_logprobs_only_where_asked_for(engine: Engine) -> None:
    plain, chosen, top = [
        (await ask(engine, request(max_tokens=6, temperature=0.0, ignore_eos=True, logprobs=wanted)))[0]
        for wanted in (None, 0, 3)
    ]
    assert plain.logprobs == ()
    assert len(chosen.logprobs) == 6
    assert all(logprob < 0 for logprob in chosen.logprobs)
    assert all(delta.top_logprobs is None for delta in chosen.deltas)
    alternatives = [position for delta in top.deltas for position in delta.top_logprobs or ()]
    assert len(alternatives) == 6
    # The greedy token is the most likely one, and alternatives come best first.
    assert [position[0].token_id for position in alternatives] == list(top.token_ids)
    assert all(list(position) == sorted(position, key=lambda pair: -pair.logprob) for position in alternatives)


async def test_scores_have_one_entry_for_each_token_but_the_first(engine: Engine) -> None:
    sequences = [[5], [5, 6], list(range(10, 110)), [7] * 300]
    scores = await engine.score(sequences)
    assert [len(row) for row in scores] == [0, 1, 99, 299]
    assert all(logprob <= 0 for row in scores for logprob in row)
    assert await engine.score([]) == []


async def test_scores_fill_the_whole_context(engine: Engine) -> None:
    longest = [index % 250 for index in range(engine.limits.context_length)]
    (row,) = await engine.score([longest])
    assert len(row) == len(longest) - 1


async def test_scores_agree_with_generated_logprobs(engine: Engine) -> None:
    prompt = tuple(b"The answer")
    (answer,) = await ask(engine, request(prompt, max_tokens=12, seed=3, ignore_eos=True, logprobs=0))
    (row,) = await engine.score([[*prompt, *answer.token_ids]])
    assert row[len(prompt) - 1 :] == pytest.approx(answer.logprobs, abs=1e-3)


async def test_closing_the_stream_aborts_the_request(engine: Engine) -> None:
    stream = engine.generate(request(max_tokens=LONG_ANSWER, ignore_eos=True))
    await anext(stream)
    await stream.aclose()
    await eventually(lambda: engine.load() == EngineLoad())


async def test_cancelling_the_task_aborts_the_request(engine: Engine) -> None:
    asked = request(max_tokens=LONG_ANSWER, ignore_eos=True)
    task = asyncio.create_task(ask(engine, asked))
    await eventually(lambda: engine.load().running > 0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually(lambda: engine.load() == EngineLoad())
    assert not await engine.abort(asked.request_id)


@pytest.mark.parametrize("n", [1, 2])
async def test_abort_ends_the_stream_with_its_reason(engine: Engine, n: int) -> None:
    asked = request(max_tokens=LONG_ANSWER, ignore_eos=True, n=n)
    task = asyncio.create_task(ask(engine, asked))
    await eventually(lambda: engine.load().running > 0)
    assert await engine.abort(asked.request_id)
    answers = await task
    assert {answer.finish_reason for answer in answers} == {FinishReason.ABORT}
    assert all(len(answer.token_ids) < LONG_ANSWER for answer in answers)
    assert not await engine.abort(asked.request_id)
    await eventually(lambda: engine.load() == EngineLoad())


async def test_many_requests_at_once(engine: Engine) -> None:
    asked = [request(max_tokens=8, seed=index, ignore_eos=True) for index in range(12)]
    alone = [await ask(engine, one) for one in asked[:3]]
    together = await asyncio.gather(*(ask(engine, one) for one in asked))
    assert [len(answer.token_ids) for (answer,) in together] == [8] * 12
    assert [answer.token_ids for (answer,) in together[:3]] == [answer.token_ids for (answer,) in alone]


async def test_one_name_is_in_flight_once(engine: Engine) -> None:
    asked = request(max_tokens=LONG_ANSWER, ignore_eos=True, request_id="twice")
    stream = engine.generate(asked)
    await anext(stream)
    with pytest.raises(RequestError, match="twice"):
        await anext(engine.generate(asked))
    await stream.aclose()
    await eventually(lambda: engine.load() == EngineLoad())
    (answer,) = await ask(engine, request(max_tokens=1, request_id="twice"))
    assert len(answer.token_ids) == 1


async def test_refusals_come_before_any_work(engine: Engine) -> None:
    with pytest.raises(RequestError, match="temperature"):
        engine.generate(request(temperature=float("nan")))
    with pytest.raises(RequestError, match="max_tokens"):
        engine.generate(request(max_tokens=engine.limits.context_length))
    with pytest.raises(RequestError, match=r"sequences\[1\]"):
        await engine.score([[1, 2], [1, engine.limits.vocab_size]])
    assert engine.load() == EngineLoad()


async def test_adapters_are_refused_in_words(engine: Engine) -> None:
    with pytest.raises(UnsupportedFeatureError, match=r"LoRA.*law.*merge"):
        engine.generate(request(adapter="law"))


async def test_a_stopped_engine_says_so_and_starts_again(engine: Engine) -> None:
    assert Capability.RESTART in engine.capabilities
    before = await ask(engine, request(max_tokens=8, temperature=0.0))
    open_request = asyncio.create_task(ask(engine, request(max_tokens=LONG_ANSWER, ignore_eos=True)))
    await eventually(lambda: engine.load().running > 0)
    await engine.stop()
    (answer,) = await open_request
    assert answer.finish_reason is FinishReason.ABORT
    assert engine.state is EngineState.STOPPED
    assert engine.load() == EngineLoad()
    with pytest.raises(EngineError, match="start"):
        engine.generate(request())
    with pytest.raises(EngineError, match="start"):
        await engine.score([[1, 2]])
    await engine.stop()

    await asyncio.gather(engine.start(), engine.start())
    after = await ask(engine, request(max_tokens=8, temperature=0.0))
    assert after[0].token_ids == before[0].token_ids
