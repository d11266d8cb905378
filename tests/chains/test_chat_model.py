"""`ChatMoesaic` beyond the standard tests: over a real server and in process, with a scripted engine."""

import asyncio
import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core import exceptions
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumpd, load
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.tools import tool
from pydantic import BaseModel, Field, SecretStr

from moesaic import errors, v1
from moesaic.chains import ChatMoesaic
from moesaic.server.engine import ScriptedEngine
from tests.chains.scene import Scene, script, until_idle
from tests.chains.served import served
from tests.client.waiting import until


@pytest.fixture
def scene() -> Iterator[Scene]:
    engine = ScriptedEngine(script, context_length=32768)
    with served(engine) as target:
        yield Scene(ChatMoesaic(target=target, max_tokens=2000, max_retries=0), engine)


class Node(BaseModel):
    """A heading with what stands below it."""

    title: str
    children: list["Node"] = Field(default_factory=list)


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"{city}: rain"


def test_an_answer_says_where_it_came_from(scene: Scene) -> None:
    answer = scene.model.invoke("为什么叶子是绿的？")
    assert "为什么叶子是绿的？" in answer.text
    assert answer.response_metadata["model_name"] == "tiny"
    assert answer.response_metadata["finish_reason"] == "stop"
    assert answer.response_metadata["weight_version"]
    assert answer.response_metadata["request_id"]
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == len(answer.text.encode()) + 1


def test_a_stream_tells_the_same_as_the_whole(scene: Scene) -> None:
    whole = scene.model.invoke("Why?", logprobs=1)
    chunks = list(scene.model.stream("Why?", logprobs=1))
    assert len(chunks) > 3
    told = chunks[0]
    for chunk in chunks[1:]:
        told += chunk
    assert isinstance(told, AIMessageChunk)
    assert (told.text, told.usage_metadata) == (whole.text, whole.usage_metadata)
    own = {"request_id": ""}
    assert told.response_metadata | own == whole.response_metadata | own
    assert len(told.response_metadata["logprobs"]["content"]) == len(told.text.encode()) + 1


def test_callbacks_see_tokens_where_invoke_streams(scene: Scene) -> None:
    class Seen(BaseCallbackHandler):
        tokens: list[str] = []  # noqa: RUF012

        def on_llm_new_token(self, token: Any, **options: Any) -> None:
            self.tokens.append(token)

    streaming = scene.model.model_copy(update={"streaming": True})
    answer = streaming.invoke("Why?", config={"callbacks": [seen := Seen()]})
    assert "".join(seen.tokens) == answer.text
    assert len(seen.tokens) > 3


def test_options_of_a_call_take_the_place_of_the_models(scene: Scene) -> None:
    model = ChatMoesaic(target=scene.model.target, temperature=0.5, stop=["you"], seed=3, max_tokens=50)
    assert model.invoke("hi").text == "Hello, how are "
    assert model.bind(stop=["how"], temperature=0, seed=4, top_k=2).invoke("hi").text == "Hello, "
    assert model.invoke("hi", max_tokens=5).response_metadata["finish_reason"] == "length"
    first, second, third = (request.sampling for request in scene.engine.requests)
    assert (first.temperature, first.stop, first.seed, first.top_k) == (0.5, ("you",), 3, 0)
    assert (second.temperature, second.stop, second.seed, second.top_k) == (0.0, ("how",), 4, 2)
    assert (first.max_tokens, third.max_tokens) == (50, 5)


@pytest.mark.parametrize(
    ("options", "ours", "theirs"),
    [
        ({"top_p": 2.0}, errors.RequestError, exceptions.ModelInvalidRequestError),
        ({"temprature": 1}, errors.RequestError, exceptions.ModelInvalidRequestError),
        ({"model": "big"}, errors.NotFoundError, exceptions.ModelNotFoundError),
        ({"timeout_s": 0.3}, errors.DeadlineExceededError, exceptions.ModelTimeoutError),
    ],
    ids=str,
)
async def test_failures_are_members_of_both_trees(
    scene: Scene, options: dict[str, Any], ours: type[Exception], theirs: type[Exception]
) -> None:
    question = "endless"
    for kind in (ours, theirs):
        with pytest.raises(kind):
            scene.model.invoke(question, **options)
        with pytest.raises(kind):
            list(scene.model.stream(question, **options))
        with pytest.raises(kind):
            await scene.model.ainvoke(question, **options)
        with pytest.raises(kind):
            [chunk async for chunk in scene.model.astream(question, **options)]


def test_images_are_refused(scene: Scene) -> None:
    message = HumanMessage([{"type": "image", "base64": "eA==", "mime_type": "image/png"}])
    with pytest.raises(exceptions.ModelInvalidRequestError, match="text only"):
        scene.model.invoke([message])
    assert scene.engine.requests == []


def test_a_server_that_is_away() -> None:
    with pytest.raises(exceptions.ModelConnectionError, match=r"127\.0\.0\.1:1"):
        ChatMoesaic(target="127.0.0.1:1", max_retries=0).invoke("hi")


def test_what_cannot_be_used_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="MOESAIC_TARGET"):
        ChatMoesaic()
    with pytest.raises(ValueError, match="must not travel unencrypted"):
        ChatMoesaic(target="example.org:1", token=SecretStr("secret"))
    with pytest.raises(ValueError, match="temprature"):
        ChatMoesaic(target="127.0.0.1:1", temprature=1)  # type: ignore[call-arg]
    monkeypatch.setenv("MOESAIC_TARGET", "127.0.0.1:2")
    assert ChatMoesaic().target == "127.0.0.1:2"


def test_leaving_a_stream_ends_the_work(scene: Scene) -> None:
    for chunk in scene.model.stream("endless"):
        if chunk.text:
            break
    until_idle(scene.engine)


async def test_leaving_an_asynchronous_stream_ends_the_work(scene: Scene) -> None:
    stream = scene.model.astream("endless")
    assert (await anext(stream)).text
    assert scene.engine.load().running == 1
    await stream.aclose()  # type: ignore[attr-defined]
    await asyncio.to_thread(until_idle, scene.engine)


async def test_cancelling_a_task_ends_the_work(scene: Scene) -> None:
    asking = asyncio.create_task(scene.model.ainvoke("endless"))
    await until(lambda: scene.engine.load().running == 1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.to_thread(until_idle, scene.engine)


def test_tokens_are_counted_by_the_models_own_tokenizer(scene: Scene) -> None:
    assert scene.model.get_token_ids("叶") == list("叶".encode())
    assert scene.model.get_num_tokens("叶子") == 6
    messages = [HumanMessage("hi"), AIMessage("ho")]
    bare = scene.model.get_num_tokens_from_messages(messages)
    assert bare == len("user: hi\nassistant: ho\nassistant: ")
    assert scene.model.get_num_tokens_from_messages(messages, tools=[add]) > bare + len("Add two numbers.")


def test_several_tools_in_one_answer(scene: Scene) -> None:
    question = "Call add with 2 and 3, and weather for '北京'."
    whole = scene.model.bind_tools([add, weather]).invoke(question)
    told: Any = None
    for chunk in scene.model.bind_tools([add, weather]).stream(question):
        told = chunk if told is None else told + chunk
    for answer in (whole, told):
        assert answer.text.strip() == "Let me see."
        assert [(call["name"], call["args"]) for call in answer.tool_calls] == [
            ("add", {"a": 2, "b": 3}),
            ("weather", {"city": "北京"}),
        ]
        assert len({call["id"] for call in answer.tool_calls}) == 2
        assert answer.response_metadata["finish_reason"] == "tool_calls"


def test_no_tool_is_called_where_none_may_be(scene: Scene) -> None:
    bound = scene.model.bind_tools([add], tool_choice="none")
    assert bound.invoke("add 2 and 3").tool_calls == []
    assert scene.model.bind_tools([]).invoke("add 2 and 3").tool_calls == []
    assert scene.engine.requests[0].sampling.constraint is None


def test_a_tool_that_is_not_there(scene: Scene) -> None:
    with pytest.raises(exceptions.ModelInvalidRequestError, match="'subtract'"):
        scene.model.bind_tools([add], tool_choice="subtract").invoke("3 - 2")


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_recursive_values(scene: Scene, method: Any) -> None:
    chain = scene.model.with_structured_output(Node, method=method)
    found = chain.invoke("An outline of 'Leaves', 'Light', 'Water'")
    assert isinstance(found, Node)
    assert found.title == "Leaves"
    assert found.children[0].title == "Light"


def test_a_schema_without_a_title(scene: Scene) -> None:
    schema = {"type": "object", "properties": {"年": {"type": "integer"}}, "required": ["年"]}
    assert scene.model.with_structured_output(schema).invoke("In 2026?") == {"年": 2026}


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
def test_raw_answers_come_with_what_went_wrong(scene: Scene, method: Any) -> None:
    chain = scene.model.with_structured_output(Node, method=method, include_raw=True)
    found = chain.invoke("'title'")
    assert isinstance(found["raw"], AIMessage)
    assert found["parsing_error"] is None
    assert isinstance(found["parsed"], Node)


@pytest.mark.parametrize("max_tokens", [5, 16])
@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
async def test_an_answer_that_was_cut_off_is_no_value(scene: Scene, method: Any, max_tokens: int) -> None:
    question = "'title' and 'Light'"  # 16 tokens end inside of a value, where closing brackets would make it sound
    chain = scene.model.with_structured_output(Node, method=method, max_tokens=max_tokens)
    for ask in (chain.ainvoke(question), asyncio.to_thread(chain.invoke, question)):
        with pytest.raises(exceptions.OutputParserException, match="cut off"):
            await ask
    with pytest.raises(exceptions.OutputParserException, match="cut off"):
        [part async for part in chain.astream(question)]
    with pytest.raises(exceptions.OutputParserException, match="cut off"):
        await asyncio.to_thread(lambda: list(chain.stream(question)))
    raw = scene.model.with_structured_output(Node, method=method, max_tokens=max_tokens, include_raw=True)
    found = await raw.ainvoke(question)
    assert (found["parsed"], type(found["parsing_error"])) == (None, exceptions.OutputParserException)


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_stop_texts_do_not_cut_values(scene: Scene, method: Any) -> None:
    model = scene.model.model_copy(update={"stop": ["eaves"]})
    assert model.with_structured_output(Node, method=method).invoke("'Leaves'").title == "Leaves"


def test_an_unknown_method(scene: Scene) -> None:
    with pytest.raises(errors.InputError, match="'yaml'"):
        scene.model.with_structured_output(Node, method="yaml")  # type: ignore[arg-type]


def test_a_copy_speaks_too(scene: Scene) -> None:
    assert scene.model.invoke("Why?").text
    assert copy.deepcopy(scene.model).invoke("Why?").text == scene.model.invoke("Why?").text


def test_other_constraints(scene: Scene) -> None:
    choice = v1.Constraint(choice=v1.Choices(texts=["红", "绿"]))
    assert scene.model.invoke("Which?", constraint=choice).text == "红"


async def test_an_agent_works_until_it_has_an_answer(scene: Scene) -> None:
    agent: Any = create_agent(scene.model, [add, weather])
    found = await agent.ainvoke({"messages": [HumanMessage("Call add with 2 and 3.")]})
    kinds = [message.type for message in found["messages"]]
    assert kinds == ["human", "ai", "tool", "ai"]
    assert found["messages"][-1].text == "The tool says: 5"


def test_an_agent_answers_with_a_value(scene: Scene) -> None:
    agent: Any = create_agent(scene.model, [add], response_format=Node)
    found = agent.invoke({"messages": [HumanMessage("Give a Node for 'Leaves' and 'Light'")]})
    assert found["structured_response"].title == "Leaves"
    assert found["structured_response"].children[0].title == "Light"


def test_blocks_of_version_one(scene: Scene) -> None:
    model = ChatMoesaic(target=scene.model.target, output_version="v1", max_tokens=2000)
    answer = model.bind_tools([add]).invoke("add 2 and 3")
    assert [block["type"] for block in answer.content] == ["text", "tool_call"]  # type: ignore[index]
    again = model.bind_tools([add]).invoke([HumanMessage("add 2 and 3"), answer, HumanMessage("Well?")])
    assert again.tool_calls


@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
def test_a_stored_model_comes_back_without_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ChatMoesaic(target="127.0.0.1:1", token=SecretStr("s3cret"), temperature=0.5)
    stored = dumpd(model)
    assert "s3cret" not in json.dumps(stored)
    assert "s3cret" not in repr(model)
    monkeypatch.setenv("MOESAIC_TOKEN", "other")
    again = load(stored, allowed_objects=[ChatMoesaic], valid_namespaces=["moesaic"], secrets_from_env=True)
    assert (again.target, again.temperature) == ("127.0.0.1:1", 0.5)
    assert again.token.get_secret_value() == "other"
