"""LangChain's messages on the wire and back, without a server."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from moesaic import v1
from moesaic.chains.chat_messages import answer_message, delta_chunk, final_chunk, wire_messages
from moesaic.errors import RequestError

CALL = {"name": "add", "args": {"a": 1, "b": "二"}, "id": "c1", "type": "tool_call"}


def wire(message: BaseMessage) -> v1.ChatMessage:
    [found] = wire_messages([message])
    return found


@pytest.mark.parametrize(
    ("message", "role", "text"),
    [
        (SystemMessage("Be brief."), "SYSTEM", "Be brief."),
        (HumanMessage("你好", name="someone"), "USER", "你好"),
        (AIMessage("Hello"), "ASSISTANT", "Hello"),
        (ChatMessage(content="rules", role="developer"), "SYSTEM", "rules"),
        (ChatMessage(content="hi", role="user"), "USER", "hi"),
        (ChatMessage(content="ho", role="assistant"), "ASSISTANT", "ho"),
        (HumanMessage(["a", {"type": "text", "text": "b"}]), "USER", "ab"),
        (HumanMessage([]), "USER", ""),
        (AIMessage([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "yes"}]), "ASSISTANT", "yes"),
    ],
    ids=str,
)
def test_roles_and_texts(message: BaseMessage, role: str, text: str) -> None:
    assert wire(message) == v1.ChatMessage(role=f"ROLE_{role}", content=text)


def test_calls_of_tools_and_their_results() -> None:
    content: list[str | dict[str, Any]] = [
        {"type": "text", "text": "I add."},
        {"type": "tool_use", "id": "c1", "name": "add", "input": {}},
    ]
    called = wire(AIMessage(content, tool_calls=[CALL, CALL | {"id": None}]))
    assert called.content == "I add."
    assert [(call.id, call.name) for call in called.tool_calls] == [("c1", "add"), ("call_1", "add")]
    assert called.tool_calls[0].arguments == '{"a": 1, "b": "二"}'
    answered = wire(ToolMessage("3", tool_call_id="c1"))
    assert answered == v1.ChatMessage(role=v1.Role.ROLE_TOOL, content="3", tool_call_id="c1")


@pytest.mark.parametrize(("content", "told"), [("no such file", "Error: no such file"), ("Error: no b", "Error: no b")])
def test_a_failed_tool_is_told_in_words(content: str, told: str) -> None:
    assert wire(ToolMessage(content, tool_call_id="c1", status="error")).content == told


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        (HumanMessage([{"type": "image", "url": "x"}]), ["messages[1]", "'image'", "text only"]),
        (HumanMessage([{"type": "image_url", "image_url": {"url": "x"}}]), ["'image_url'"]),
        (ToolMessage([{"type": "file", "base64": "x"}], tool_call_id="c"), ["'file'"]),
        (HumanMessage([{"text": "no type"}]), ["'None'"]),
        (FunctionMessage(content="3", name="add"), ["'function'", "ToolMessage"]),
        (ChatMessage(content="hi", role="narrator"), ["'narrator'", "user"]),
        (HumanMessage("half \udce4"), ["messages[1]", "UTF-8"]),
    ],
    ids=lambda value: value.type if isinstance(value, BaseMessage) else "",
)
def test_what_the_model_cannot_read_is_refused(message: BaseMessage, parts: list[str]) -> None:
    with pytest.raises(RequestError) as raised:
        wire_messages([SystemMessage("s"), message])
    assert [part for part in parts if part not in str(raised.value)] == []


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives(text: str) -> None:
    assert wire(HumanMessage(text)).content == text
    response = v1.ChatResponse(model="tiny")
    choice = v1.ChatChoice(message=v1.ChatMessage(content=text))
    assert answer_message(response, choice).text == text


def test_an_answer_says_where_it_came_from() -> None:
    response = v1.ChatResponse(
        request_id="r1",
        model="tiny",
        weight_version="w1",
        usage=v1.Usage(prompt_tokens=7, completion_tokens=3, cached_tokens=5),
    )
    choice = v1.ChatChoice(
        message=v1.ChatMessage(content="x"),
        finish_reason=v1.FinishReason.FINISH_REASON_LENGTH,
        logprobs=[v1.TokenLogprob(token_id=4, logprob=-0.5, top=[v1.TokenLogprob(token_id=9, logprob=-0.25)])],
    )
    message = answer_message(response, choice)
    assert message.usage_metadata == {
        "input_tokens": 7,
        "output_tokens": 3,
        "total_tokens": 10,
        "input_token_details": {"cache_read": 5},
    }
    assert message.response_metadata == {
        "model_name": "tiny",
        "model_provider": "moesaic",
        "weight_version": "w1",
        "request_id": "r1",
        "finish_reason": "length",
        "logprobs": {
            "content": [{"token_id": 4, "logprob": -0.5, "top_logprobs": [{"token_id": 9, "logprob": -0.25}]}]
        },
    }


def test_calls_that_were_cut_off_are_kept_apart() -> None:
    calls = [
        v1.ToolCall(id="c1", name="add", arguments='{"a": 1}'),
        v1.ToolCall(id="c2", name="now"),
        v1.ToolCall(id="c3", name="add", arguments='{"a": '),
    ]
    choice = v1.ChatChoice(message=v1.ChatMessage(tool_calls=calls))
    message = answer_message(v1.ChatResponse(model="tiny"), choice)
    assert [(call["id"], call["args"]) for call in message.tool_calls] == [("c1", {"a": 1}), ("c2", {})]
    assert [(call["id"], call["args"]) for call in message.invalid_tool_calls] == [("c3", '{"a": ')]


def test_chunks_add_up_to_the_answer() -> None:
    logprobs = [v1.TokenLogprob(token_id=1, logprob=-1.0)]
    first = v1.ToolCallDelta(call_index=0, id="c1", name="add", arguments='{"a":')
    chunks = [
        delta_chunk(v1.ChatDelta(text="I ", logprobs=logprobs)),
        delta_chunk(v1.ChatDelta(text="add.", logprobs=logprobs)),
        delta_chunk(v1.ChatDelta(tool_calls=[first])),
        delta_chunk(v1.ChatDelta(tool_calls=[v1.ToolCallDelta(call_index=0, arguments=" 1}")])),
        delta_chunk(v1.ChatDelta(tool_calls=[v1.ToolCallDelta(call_index=1, id="c2", name="now")])),
        final_chunk(
            v1.Started(model="tiny", request_id="r1"),
            v1.Finished(
                finish_reason=v1.FinishReason.FINISH_REASON_TOOL_CALLS,
                usage=v1.Usage(prompt_tokens=2, completion_tokens=2),
            ),
        ),
    ]
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert whole.text == "I add."
    assert [(call["id"], call["name"], call["args"]) for call in whole.tool_calls] == [
        ("c1", "add", {"a": 1}),
        ("c2", "now", {}),
    ]
    assert whole.response_metadata["model_name"] == "tiny"
    assert whole.response_metadata["finish_reason"] == "tool_calls"
    assert [entry["logprob"] for entry in whole.response_metadata["logprobs"]["content"]] == [-1.0, -1.0]
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["total_tokens"] == 4
    assert [chunk.chunk_position for chunk in chunks] == [None] * 5 + ["last"]
