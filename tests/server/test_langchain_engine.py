"""LangChain over gRPC over the real engine: tools, forms, streams, usage, stops, and an answer with citations.

The model is random: what it says means nothing, but what is promised of its form must hold all the same.
"""

import asyncio
import json
from pathlib import Path
from typing import Any, Literal

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.tools import tool
from pydantic import BaseModel, Field

from moesaic.chains import (
    ChatMoesaic,
    Judge,
    RagCalibration,
    RagChain,
    RagOptions,
    TokenActivatedChain,
    ToolCallingChain,
    ToolLoopOptions,
)
from moesaic.client import AsyncClient
from moesaic.tools import CallStatus, MemoryAudit, Tool, Toolbox, ToolContext
from moesaic.tools.builtin import (
    Calculator,
    DateTime,
    KnowledgeLookup,
    PageReader,
    PythonProgram,
    SqlQuery,
    WebSearch,
)
from tests.chains.animal_questions import QUESTIONS, TEXTS
from tests.chains.rag_scene import assert_exact, made_base
from tests.cli.running import run
from tests.server.serving import Served
from tests.tools.scripted_tools import EchoArguments, EchoTool

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]


class Trip(BaseModel):
    """Where to, and for how long."""

    where: Literal["叶", "stem"]
    days: int = Field(ge=0, le=9)


@tool
def look_up(trip: Trip) -> str:
    """Look a trip up."""
    return trip.where


@tool
def stop() -> str:
    """Stop."""
    return "stopped"


@pytest.fixture
def model(engine_served: Served) -> ChatMoesaic:
    return ChatMoesaic(target=engine_served.server.target, max_tokens=200, max_retries=0, timeout_s=60.0)


@pytest.mark.parametrize("choice", ["any", "look_up"])
async def test_a_forced_call_satisfies_its_schema(model: ChatMoesaic, choice: str) -> None:
    for seed in range(3):
        answer = await model.bind_tools([look_up, stop], tool_choice=choice).ainvoke("Hello", seed=seed)
        assert answer.invalid_tool_calls == []
        (call,) = answer.tool_calls
        assert call["name"] == "look_up" or (choice, call["name"], call["args"]) == ("any", "stop", {})
        if call["name"] == "look_up":
            Trip.model_validate(call["args"]["trip"])


@pytest.mark.parametrize(
    "kind", [Calculator, DateTime, KnowledgeLookup, PageReader, PythonProgram, SqlQuery, WebSearch]
)
async def test_a_call_of_each_built_in_tool_can_be_forced(model: ChatMoesaic, kind: type[Tool[Any]]) -> None:
    schema = kind.arguments.model_json_schema()
    offered = {"type": "function", "function": {"name": "asked", "description": "", "parameters": schema}}
    answer = await model.bind_tools([offered], tool_choice="asked").ainvoke("问", temperature=0, max_tokens=100)
    if answer.response_metadata["finish_reason"] == "length":
        assert len(answer.invalid_tool_calls) <= 1
    else:
        (call,) = answer.tool_calls
        assert call["name"] == "asked"
        assert set(call["args"]) <= set(kind.arguments.model_fields)


async def test_a_structured_answer_is_an_object_of_its_class(model: ChatMoesaic) -> None:
    bound = model.with_structured_output(Trip)
    drawn = [await bound.ainvoke(f"问题 {number}", temperature=1.0, seed=number) for number in range(3)]
    assert all(isinstance(trip, Trip) for trip in drawn)


async def test_what_is_streamed_is_what_is_answered_with_its_usage(model: ChatMoesaic) -> None:
    whole = await model.ainvoke("Hello", temperature=0, max_tokens=24)
    # Whoever is kept from reading finds several pieces joined, so that one stream alone says little about their number.
    streams = [[piece async for piece in model.astream("Hello", temperature=0, max_tokens=24)] for _ in range(8)]
    pieces = max(streams, key=len)
    assert len(pieces) > 2
    added = pieces[0]
    for piece in pieces[1:]:
        added = added + piece
    assert isinstance(added, AIMessageChunk)
    assert added.text == whole.text
    assert whole.usage_metadata is not None
    assert added.usage_metadata == whole.usage_metadata
    assert 0 < whole.usage_metadata["output_tokens"] <= 24
    assert whole.response_metadata["finish_reason"] in ("stop", "length")


async def test_the_same_without_a_loop_of_one_s_own(model: ChatMoesaic) -> None:
    whole = await model.ainvoke("Hello", temperature=0, max_tokens=12)
    answer = await asyncio.to_thread(model.invoke, "Hello", temperature=0, max_tokens=12)
    streamed = await asyncio.to_thread(
        lambda: "".join(p.text for p in model.stream("Hello", temperature=0, max_tokens=12))
    )
    assert answer.text == whole.text == streamed


async def test_a_stop_ends_the_answer_before_it(model: ChatMoesaic) -> None:
    free = await model.ainvoke("Hello", temperature=0, max_tokens=40)
    word = free.text[len(free.text) // 2 :][:2]
    assert word, "the model ended at once; choose another prompt"
    stopped = await model.ainvoke("Hello", temperature=0, max_tokens=40, stop=[word])
    assert stopped.text == free.text[: free.text.index(word)]
    assert stopped.response_metadata["finish_reason"] == "stop"


async def test_a_loop_with_tools_makes_the_call_that_the_model_drew(model: ChatMoesaic) -> None:
    """A random model draws arguments at random: that they fit the tool is the doing of constrained decoding."""
    audit = MemoryAudit()
    chain = ToolCallingChain(
        model=model.model_copy(update={"temperature": 1.0}),
        toolbox=Toolbox([EchoTool(), Calculator()], audit=audit),
        context=ToolContext.here(),
        options=ToolLoopOptions(max_steps=2, max_tokens=300),  # 50 characters of four tokens each fit in
        tool_choice="echo",
    )
    parts = [part async for part in chain.astream("说一句话。")]
    answer = parts[-1].answer
    assert answer is not None
    (outcome,) = answer.outcomes
    assert (outcome.call.name, outcome.status) == ("echo", CallStatus.OK)
    drawn = EchoArguments.model_validate(dict(outcome.call.arguments))
    assert outcome.content == " ".join([drawn.text] * drawn.times)
    assert answer.steps == 2
    assert answer.output_tokens > 0
    assert [part.step for part in parts if part.call or part.outcome] == [1, 1]
    assert {entry.call_id for entry in audit.entries} == {outcome.call.id}


async def test_a_call_that_is_cut_off_is_no_text(model: ChatMoesaic) -> None:
    chain = ToolCallingChain(
        model=model,
        toolbox=Toolbox([EchoTool()]),
        context=ToolContext.here(),
        options=ToolLoopOptions(max_steps=2, max_tokens=4),
        tool_choice="echo",
    )
    parts = [part async for part in chain.astream("说一句话。")]
    answer = parts[-1].answer
    assert answer is not None
    (outcome,) = answer.outcomes
    assert (outcome.status, outcome.error) == (CallStatus.INVALID, "ToolArgumentError")
    assert not [part.text for part in parts if part.step == 1 and part.text]
    assert answer.steps == 2


async def test_a_token_activated_loop_streams_what_the_model_writes(engine_served: Served) -> None:
    async with AsyncClient(engine_served.server.target, timeout_s=60) as client:
        chain = TokenActivatedChain(
            client=client,
            toolbox=Toolbox([Calculator()]),
            context=ToolContext.here(),
            options=ToolLoopOptions(max_tokens=24),
            timeout_s=60.0,
        )
        parts = [part async for part in chain.astream("Hello")]
    answer = parts[-1].answer
    assert answer is not None
    assert "".join(part.text for part in parts) == answer.text
    assert (answer.outcomes, answer.steps) == ((), 1)
    assert 0 < answer.output_tokens <= 24


@pytest.mark.parametrize("judge", list(Judge))
async def test_answers_cite_what_stands_there_whatever_the_model_says(
    engine_served: Served, tmp_path: Path, judge: Judge
) -> None:
    options = RagOptions(judge=judge, threshold=0.0)
    async with AsyncClient(engine_served.server.target, timeout_s=60) as client:
        with made_base(tmp_path / "kb") as base:
            chain = RagChain(base=base, client=client, options=options, timeout_s=60.0)
            answers = [await chain.ainvoke(asked) for asked in ("Where does the cat sleep?", "猫睡在哪里?")]
            assert assert_exact(base, answers) >= 2
            assert [answer.declined for answer in answers] == [False, False]
            strict = RagChain(base=base, client=client, options=RagOptions(judge=judge, threshold=1.0), timeout_s=60.0)
            declined = await strict.ainvoke("How much is a ticket to Geneva?")
            assert (declined.declined, declined.citations) == (True, ())


async def test_numbers_of_cited_answers_are_fitted_to_the_served_model(engine_served: Served, tmp_path: Path) -> None:
    questions, out = tmp_path / "questions.json", tmp_path / "calibration.json"
    questions.write_text(json.dumps(QUESTIONS))
    made_base(tmp_path / "home" / "animals", TEXTS).close()
    place = ("--kb", "animals", "--base", tmp_path / "home", "--target", engine_served.server.target)
    outcome = await asyncio.to_thread(run, "calibrate", questions, *place, "--out", out, "--json")
    assert outcome.code == 0, outcome
    report = json.loads(outcome.stdout)
    assert (report["answerable"], report["unanswerable"]) == (12, 12)
    assert RagCalibration.read(out).span_weights != RagCalibration.load().span_weights
    asked = await asyncio.to_thread(run, "ask", "Where does the owl sleep?", *place, "--calibration", out, "--json")
    assert json.loads(asked.stdout)["question"] == "Where does the owl sleep?"
