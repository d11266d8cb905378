"""The real engine under what stops a careless one: seeds, floods, cancellations, killed processes, damaged files."""

import asyncio
import os
import random
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moesaic.artifact import ModelArtifact
from moesaic.errors import EngineDeadError, EngineError, EngineOverloadedError, RequestError
from moesaic.server.engine import EngineLoad, EngineState, FinishReason, VllmEngine, VllmSettings
from tests.server.engine.asking import LONG_ANSWER, Answer, ask, eventually, request, turning
from tests.server.engine.tiny_artifact import VOCAB_SIZE

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

STEP_TOKENS = 64
"""The token budget of one step, by the settings of the session's engine."""

LONG_PROMPT = tuple(index * 37 % 250 for index in range(4 * STEP_TOKENS - 10))


def process_group(leader: int) -> list[int]:
    """The living processes of a group."""
    living = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = status.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue

        if int(group) == leader and state != "Z":
            living.append(int(status.parent.name))
    return living


async def greedy(engine: VllmEngine) -> Answer:
    return (await ask(engine, request(max_tokens=8, temperature=0.0, ignore_eos=True)))[0]


async def test_a_seeded_prompt_longer_than_a_step_repeats_alone_and_in_a_batch(vllm_engine: VllmEngine) -> None:
    """The request that kills vLLM's own CPU worker."""
    seeded = {"max_tokens": 32, "seed": 11, "ignore_eos": True}
    alone = [(await ask(vllm_engine, request(LONG_PROMPT, **seeded)))[0].token_ids for _ in range(2)]
    assert alone[0] == alone[1]
    other = (await ask(vllm_engine, request(LONG_PROMPT, **{**seeded, "seed": 12})))[0].token_ids
    assert other != alone[0]

    crowd = [
        request(LONG_PROMPT[shift:] + LONG_PROMPT[:shift], max_tokens=20, seed=shift if shift % 2 else None)
        for shift in range(1, 7)
    ]
    together = await asyncio.gather(*(ask(vllm_engine, one) for one in [*crowd[:3], request(LONG_PROMPT, **seeded)]))
    assert together[-1][0].token_ids == alone[0]
    twice = await asyncio.gather(*(ask(vllm_engine, request(LONG_PROMPT, n=2, **seeded)) for _ in range(2)))
    assert [answer.token_ids for answer in twice[0]] == [answer.token_ids for answer in twice[1]]
    assert twice[0][0].token_ids == alone[0]
    assert vllm_engine.state is EngineState.READY


async def test_a_prompt_seen_before_is_computed_once(vllm_engine: VllmEngine) -> None:
    prompt = tuple(7 + index * 11 % 240 for index in range(300))
    usage = [(await ask(vllm_engine, request(prompt, max_tokens=1)))[0].usage for _ in range(2)]
    assert usage[0] is not None
    assert usage[1] is not None
    assert usage[0].cached_tokens == 0
    assert usage[1].cached_tokens >= 128


async def test_a_full_queue_refuses_and_serves_the_rest(vllm_engine: VllmEngine) -> None:
    asked = [request(max_tokens=100, ignore_eos=True) for _ in range(40)]
    outcomes = await asyncio.gather(*(ask(vllm_engine, one) for one in asked), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert len(refused) == 40 - 24
    assert all(isinstance(error, EngineOverloadedError) for error in refused)
    await eventually(lambda: vllm_engine.load() == EngineLoad())


async def test_urgent_requests_overtake_those_that_wait(vllm_engine: VllmEngine) -> None:
    finished: list[str] = []

    async def one(name: str, priority: int) -> None:
        await ask(vllm_engine, request(max_tokens=600, ignore_eos=True, priority=priority))
        finished.append(name)

    # The engine stands still until all of them have been handed over: none can end before the urgent one comes.
    leader = vllm_engine.process_id
    assert leader is not None
    os.killpg(leader, signal.SIGSTOP)
    try:
        asked = [asyncio.create_task(one(f"patient {rank}", 5)) for rank in range(20)]
        asked.append(asyncio.create_task(one("urgent", -5)))
        await eventually(lambda: sum(stream is not None for stream in vllm_engine._streams.values()) == len(asked))
    finally:
        os.killpg(leader, signal.SIGCONT)
    await asyncio.gather(*asked)
    assert 20 - finished.index("urgent") >= 4


@pytest.mark.parametrize("reader", ["socket", "outputs"])
async def test_the_loop_turns_while_outputs_gather(
    vllm_engine: VllmEngine, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    """Also where this process is slower than the engine: what has gathered is not read in one go."""
    assert vllm_engine._run is not None
    llm = vllm_engine._run.client._llm
    place, name = (
        (llm.engine_core.decoder, "decode") if reader == "socket" else (llm.output_processor, "process_outputs")
    )
    original, in_one_turn, most = getattr(place, name), 0, 0

    def turned() -> None:
        nonlocal in_one_turn
        in_one_turn = 0

    def slow(*arguments: Any, **options: Any) -> Any:
        nonlocal in_one_turn, most
        if not in_one_turn:
            asyncio.get_running_loop().call_soon(turned)
        in_one_turn += 1
        most = max(most, in_one_turn)
        time.sleep(0.02)  # several steps of the engine
        return original(*arguments, **options)

    monkeypatch.setattr(place, name, slow)
    await ask(vllm_engine, request(max_tokens=100, ignore_eos=True))
    assert most in (1, 2)


async def test_a_storm_of_cancellations_leaves_nothing_behind(vllm_engine: VllmEngine) -> None:
    draw = random.Random(5)
    for _ in range(3):
        tasks = [
            asyncio.create_task(
                ask(vllm_engine, request(LONG_PROMPT, max_tokens=LONG_ANSWER, ignore_eos=True, n=1 + rank % 2))
            )
            for rank in range(12)
        ]
        for task in tasks:
            await asyncio.sleep(draw.random() * 0.02)
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
    await eventually(lambda: vllm_engine.load() == EngineLoad())
    assert len((await greedy(vllm_engine)).token_ids) == 8


async def test_no_allowed_value_harms_the_engine(vllm_engine: VllmEngine) -> None:
    """Every extreme of every parameter, alone and mixed with others at random."""
    extremes: dict[str, list[Any]] = {
        "temperature": [0.0, 1e-9, 0.5, 2.0],
        "top_p": [1e-9, 0.5, 1.0],
        "top_k": [0, 1, VOCAB_SIZE],
        "min_p": [0.0, 1.0],
        "repetition_penalty": [1e-9, 1.0, 10.0],
        "presence_penalty": [-2.0, 2.0],
        "frequency_penalty": [-2.0, 2.0],
        "stop": [(), ("a", "世", "\0", "\ud7ff"), tuple(chr(97 + rank) * 256 for rank in range(16))],
        "stop_token_ids": [(), tuple(range(16)), (VOCAB_SIZE - 1,)],
        "ignore_eos": [False, True],
        "seed": [None, 0, 2**63 - 1],
        "logprobs": [None, 0, 20],
        "n": [1, 3],
        "priority": [-(2**31), 2**31 - 1],
    }
    draw = random.Random(3)
    prompts = [(0,), (VOCAB_SIZE - 1,) * 3, LONG_PROMPT]
    asked = [request((5,), max_tokens=4, **{name: value}) for name, values in extremes.items() for value in values]
    for _ in range(40):
        mixed = {name: draw.choice(values) for name, values in extremes.items()}
        mixed["n"] = mixed["n"] if mixed["temperature"] else 1
        asked.append(request(draw.choice(prompts), max_tokens=draw.choice([1, 5]), **mixed))
    for begin in range(0, len(asked), 8):
        await asyncio.gather(*(ask(vllm_engine, one) for one in asked[begin : begin + 8]))
    assert vllm_engine.state is EngineState.READY
    with pytest.raises(RequestError):
        vllm_engine.generate(request(top_k=2**40))


async def test_a_killed_process_fails_what_is_open_at_once_and_restarts(vllm_engine: VllmEngine) -> None:
    before = await greedy(vllm_engine)
    leader = vllm_engine.process_id
    assert leader is not None
    tasks = [asyncio.create_task(ask(vllm_engine, request(max_tokens=LONG_ANSWER, ignore_eos=True))) for _ in range(12)]
    scoring = asyncio.create_task(vllm_engine.score([[1, 2] * 2000] * 40))
    await eventually(lambda: vllm_engine.load().running > 2)
    async with turning() as seconds:
        os.kill(leader, signal.SIGKILL)
        error = await asyncio.wait_for(vllm_engine.wait_failed(), 60)
        outcomes = await asyncio.wait_for(asyncio.gather(*tasks, scoring, return_exceptions=True), 60)
        assert seconds() < 5, "vLLM itself takes ten"
    assert vllm_engine.state is EngineState.FAILED
    assert "SIGKILL" in str(error)
    assert all(isinstance(outcome, EngineDeadError) for outcome in outcomes)
    assert {str(outcome) for outcome in outcomes} == {str(error)}
    with pytest.raises(EngineDeadError, match="start it again"):
        vllm_engine.generate(request())

    await vllm_engine.start()
    assert (await greedy(vllm_engine)).token_ids == before.token_ids
    assert process_group(leader) == []


async def test_a_killed_idle_engine_is_noticed(vllm_engine: VllmEngine) -> None:
    leader = vllm_engine.process_id
    assert leader is not None
    async with turning() as seconds:
        os.killpg(leader, signal.SIGKILL)
        await asyncio.wait_for(vllm_engine.wait_failed(), 60)
        assert seconds() < 5
    await vllm_engine.stop()
    assert vllm_engine.state is EngineState.STOPPED
    await vllm_engine.start()


async def test_weights_that_vllm_cannot_read_are_named_as_the_cause(
    tiny_artifact: ModelArtifact, tmp_path: Path, temporary_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(tiny_artifact.folder, tmp_path / "damaged")
    with (folder / "model.safetensors").open("r+b") as stream:
        stream.truncate(stream.seek(0, os.SEEK_END) // 2)
    log = tmp_path / "engine.log"
    settings = VllmSettings(max_num_seqs=4, kv_cache_bytes=2**24, log_file=log)
    engine = VllmEngine(replace(tiny_artifact, folder=folder), settings)
    with pytest.raises(EngineError, match=rf"damaged: SafetensorError: .*Its log is {log}"):
        await engine.start()

    assert engine.state is EngineState.FAILED
    assert engine.process_id is None
    assert "Traceback" in log.read_text()
    assert "".join(capfd.readouterr()) == "", "vLLM's noise goes to the log"
    await engine.stop()
    assert sorted(os.listdir(temporary_folder)) == ["damaged", "engine.log"]


async def test_a_start_that_takes_too_long_is_given_up(tiny_artifact: ModelArtifact) -> None:
    engine = VllmEngine(tiny_artifact, VllmSettings(kv_cache_bytes=2**24, start_timeout_s=1.0))
    with pytest.raises(EngineError, match="start_timeout_s=1"):
        await engine.start()

    assert engine.state is EngineState.FAILED
    assert engine.process_id is None


async def test_stopping_in_the_middle_of_a_start_leaves_no_process(tiny_artifact: ModelArtifact) -> None:
    engine = VllmEngine(tiny_artifact, VllmSettings(kv_cache_bytes=2**24))
    starting = asyncio.create_task(engine.start())
    await eventually(lambda: engine.process_id is not None)
    leader = engine.process_id
    assert leader is not None
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting

    await engine.stop()
    await eventually(lambda: process_group(leader) == [])
    assert engine.state is EngineState.STOPPED


async def test_an_aborted_answer_says_what_it_has(vllm_engine: VllmEngine) -> None:
    stream = vllm_engine.generate(request(max_tokens=LONG_ANSWER, ignore_eos=True, request_id="half"))
    first = await anext(stream)
    await vllm_engine.abort("half")
    rest = [delta async for delta in stream]
    assert rest[-1].finish_reason is FinishReason.ABORT
    assert rest[-1].usage is not None
    assert rest[-1].usage.completion_tokens == sum(len(delta.token_ids) for delta in [first, *rest])
