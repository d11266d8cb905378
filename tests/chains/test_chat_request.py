"""What LangChain passes to a chat model, as a request, without a server."""

import json
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from pydantic import BaseModel, Field

from moesaic import v1
from moesaic.chains.chat_request import chat_request
from moesaic.errors import RequestError


class Add(BaseModel):
    """Add two numbers."""

    a: int = Field(description="first")
    b: int


def now() -> str:
    """Tell the time."""
    return ""


def request(**options: Any) -> v1.ChatRequest:
    return chat_request([HumanMessage("hi")], options)


def refusal(**options: Any) -> str:
    with pytest.raises(RequestError) as raised:
        request(**options)
    return str(raised.value)


def test_what_is_none_is_left_to_the_server() -> None:
    bare = request()
    assert bare == request(temperature=None, max_tokens=None, stop=None, model=None, tools=None, tool_choice=None)
    assert bare == v1.ChatRequest(messages=[v1.ChatMessage(role=v1.Role.ROLE_USER, content="hi")], sampling={})
    assert not bare.sampling.HasField("temperature")


def test_zero_is_a_value() -> None:
    found = request(temperature=0, seed=0, logprobs=0, top_k=0).sampling
    assert [found.HasField(name) for name in ("temperature", "seed", "logprobs", "top_k")] == [True] * 4


def test_options_keep_their_names() -> None:
    found = request(model="tiny", priority=-3, top_p=0.5, min_p=0.1, presence_penalty=1, stop=["\n", "。"], stream=True)
    assert (found.model, found.priority) == ("tiny", -3)
    assert (found.sampling.top_p, found.sampling.min_p, found.sampling.presence_penalty) == (0.5, 0.1, 1.0)
    assert list(found.sampling.stop) == ["\n", "。"]


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"temprature": 1}, ["temprature", "no such option", "temperature"]),
        ({"max_tokens": -1}, ["max_tokens", "-1"]),
        ({"temperature": "hot"}, ["temperature", "'hot'"]),
        ({"seed": 2**70}, ["seed", str(2**70)]),
        ({"model": 5}, ["model", "5"]),
    ],
    ids=str,
)
def test_what_cannot_be_sent_is_refused(options: dict[str, Any], parts: list[str]) -> None:
    message = refusal(**options)
    assert [part for part in parts if part not in message] == []


def test_tools_in_every_shape() -> None:
    function = {"name": "raw", "description": "A dict.", "parameters": {"type": "object", "properties": {}}}
    found = request(tools=[Add, now, {"type": "function", "function": function}, {"name": "bare", "description": "x"}])
    assert [(tool.name, tool.description) for tool in found.tools] == [
        ("Add", "Add two numbers."),
        ("now", "Tell the time."),
        ("raw", "A dict."),
        ("bare", "x"),
    ]
    schema = json.loads(found.tools[0].parameters_json_schema)
    assert schema["properties"]["a"] == {"type": "integer", "description": "first"}
    assert json.loads(found.tools[3].parameters_json_schema) == {"type": "object"}


def test_no_tools_means_no_choice() -> None:
    assert request(tools=[], tool_choice="any") == request()


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        (None, "AUTO"),
        ("auto", "AUTO"),
        ("none", "NONE"),
        (False, "NONE"),
        ("any", "REQUIRED"),
        ("required", "REQUIRED"),
        (True, "REQUIRED"),
        ({"type": "any"}, "REQUIRED"),
    ],
    ids=str,
)
def test_modes_of_choice(given: Any, mode: str) -> None:
    found = request(tools=[Add], tool_choice=given).tool_choice
    assert found == v1.ToolChoice(mode=f"TOOL_MODE_{mode}")


@pytest.mark.parametrize(
    "given", ["Add", {"type": "function", "function": {"name": "Add"}}, {"type": "tool", "name": "Add"}], ids=str
)
def test_a_tool_by_name(given: Any) -> None:
    assert request(tools=[Add], tool_choice=given).tool_choice == v1.ToolChoice(name="Add")


def test_a_choice_that_is_none() -> None:
    assert "tool_choice" in refusal(tools=[Add], tool_choice=3)


def test_parallel_calls_can_only_be_excluded_where_one_is_forced() -> None:
    assert "parallel_tool_calls" in refusal(tools=[Add], parallel_tool_calls=False)
    assert request(tools=[Add], parallel_tool_calls=False, tool_choice="any").tool_choice.mode
    assert request(tools=[Add], parallel_tool_calls=False, tool_choice="Add").tool_choice.name == "Add"
    assert request(tools=[Add], parallel_tool_calls=True).tools


def test_formats_are_constraints() -> None:
    schema = {"type": "object", "properties": {"名": {"type": "string"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    assert json.loads(request(response_format=wanted).sampling.constraint.json_schema) == schema
    assert request(response_format={"type": "json_object"}).sampling.constraint.HasField("json_object")
    assert request(response_format={"type": "text"}) == request()
    regex = v1.Constraint(regex="[ab]+")
    assert request(constraint=regex).sampling.constraint == regex


@pytest.mark.parametrize("wanted", ["json", Add, {"type": "json_schema"}, {"type": "xml"}, {}], ids=str)
def test_other_formats_are_refused(wanted: Any) -> None:
    assert "with_structured_output" in refusal(response_format=wanted)
