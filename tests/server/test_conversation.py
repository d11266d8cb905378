"""Conversations as prompts: with templates that know tools, and with those that do not."""

from typing import Any

import grpc
import pytest

from moesaic import v1
from moesaic.errors import RequestError, UnsupportedFeatureError
from moesaic.server.conversation import has_chat_template, prompt_of
from moesaic.server.engine import ConstraintKind, ScriptedEngine
from moesaic.server.engine.scripted_tokenizer import ByteTokenizer
from moesaic.server.tool_calls import BEGIN, END
from tests.server.serving import chat, refused, serving

USER, ASSISTANT, SYSTEM, TOOL = (
    v1.Role.ROLE_USER,
    v1.Role.ROLE_ASSISTANT,
    v1.Role.ROLE_SYSTEM,
    v1.Role.ROLE_TOOL,
)
LOOK_UP = v1.Tool(name="look_up", description="Looks up.", parameters_json_schema='{"type": "object"}')
CALL = v1.ToolCall(id="c1", name="look_up", arguments='{"what": "叶"}')


def said(role: v1.Role, content: str = "", **fields: Any) -> v1.ChatMessage:
    return v1.ChatMessage(role=role, content=content, **fields)


class Templated(ByteTokenizer):
    """A tokenizer that notes what its template is given."""

    def __init__(self, chat_template: str | None) -> None:
        self.chat_template = chat_template
        self.given: Any = None

    def apply_chat_template(self, conversation: Any, **options: Any) -> str:
        self.given = (conversation, options)
        return "prompt"


def test_without_tools_nothing_is_added() -> None:
    prompt = prompt_of(ByteTokenizer(), [said(SYSTEM, "Be brief."), said(USER, "Why?")])
    assert prompt.text == "system: Be brief.\nuser: Why?\nassistant: "
    assert (prompt.constraint, prompt.tools_offered, prompt.tools_required) == (None, False, False)


def test_a_template_that_knows_tools_gets_them() -> None:
    tokenizer = Templated("{{ tools }} {{ tool_calls }}")
    turns = [said(USER, "Why?"), said(ASSISTANT, tool_calls=[CALL]), said(TOOL, "green", tool_call_id="c1")]
    prompt = prompt_of(tokenizer, turns, [LOOK_UP])
    conversation, options = tokenizer.given
    assert options["tools"] == [LOOK_UP_AS_TEMPLATES_TAKE_IT]
    assert conversation[1]["tool_calls"][0]["function"] == {"name": "look_up", "arguments": {"what": "叶"}}
    assert conversation[2] == {"role": "tool", "content": "green", "tool_call_id": "c1"}
    assert prompt.constraint is not None
    assert prompt.constraint.kind is ConstraintKind.STRUCTURAL_TAG


LOOK_UP_AS_TEMPLATES_TAKE_IT = {
    "type": "function",
    "function": {"name": "look_up", "description": "Looks up.", "parameters": {"type": "object"}},
}


@pytest.mark.parametrize("first", [[], [said(SYSTEM, "Be brief.")]])
def test_a_template_that_does_not_know_tools_is_told_in_words(first: list[v1.ChatMessage]) -> None:
    turns = [*first, said(USER, "Why?"), said(ASSISTANT, "Wait.", tool_calls=[CALL]), said(TOOL, "green")]
    text = prompt_of(ByteTokenizer(), turns, [LOOK_UP]).text
    assert text.startswith("system: Be brief.\n\nYou can call" if first else "system: You can call")
    assert f'Wait.\n{BEGIN}\n{{"name": "look_up", "arguments": {{"what": "叶"}}}}\n{END}' in text
    assert text.count("system:") == 1


@pytest.mark.parametrize(
    ("choice", "offered", "required"),
    [
        (None, True, False),
        (v1.ToolChoice(), True, False),
        (v1.ToolChoice(mode=v1.ToolMode.TOOL_MODE_UNSPECIFIED), True, False),
        (v1.ToolChoice(mode=v1.ToolMode.TOOL_MODE_AUTO), True, False),
        (v1.ToolChoice(mode=v1.ToolMode.TOOL_MODE_NONE), False, False),
        (v1.ToolChoice(mode=v1.ToolMode.TOOL_MODE_REQUIRED), True, True),
        (v1.ToolChoice(name="look_up"), True, True),
    ],
)
def test_choices(choice: v1.ToolChoice | None, offered: bool, required: bool) -> None:
    prompt = prompt_of(ByteTokenizer(), [said(USER, "Why?")], [LOOK_UP, v1.Tool(name="other")], choice)
    assert (prompt.tools_offered, prompt.tools_required) == (offered, required)
    assert ("look_up" in prompt.text) is offered
    assert ("other" in prompt.text) is (offered and (choice is None or choice.name == ""))


def test_what_a_template_raises_is_a_refusal() -> None:
    class Strict(Templated):
        def apply_chat_template(self, conversation: Any, **options: Any) -> str:
            raise ValueError("roles must alternate " + "x" * 1000)

    with pytest.raises(RequestError, match="template refuses them: roles must alternate") as raised:
        prompt_of(Strict(""), [said(USER, "Why?")])
    assert len(str(raised.value)) < 400


def test_a_model_without_a_template_has_no_conversations() -> None:
    assert has_chat_template(ByteTokenizer())
    assert not has_chat_template(Templated(None))
    with pytest.raises(UnsupportedFeatureError, match="use Generate"):
        prompt_of(Templated(None), [said(USER, "Why?")])


def reply(name: str = "look_up") -> str:
    return f'Let me see.{BEGIN}\n{{"name": "{name}", "arguments": {{"what": "叶"}}}}\n{END}'


async def test_a_call_over_the_wire_in_whole_and_as_a_stream() -> None:
    async with serving([reply()]) as served:
        asked = chat(tools=[LOOK_UP], sampling=v1.SamplingParameters(max_tokens=200))
        [choice] = (await served.call("Chat", asked)).choices
        assert choice.message.content == "Let me see."
        [call] = choice.message.tool_calls
        assert (call.name, call.arguments) == ("look_up", '{"what": "叶"}')
        assert choice.finish_reason == v1.FinishReason.FINISH_REASON_TOOL_CALLS
        events = await served.call("ChatStream", v1.ChatStreamRequest(request=asked))
        parts = [part for event in events for part in event.delta.tool_calls]
        assert [(part.call_index, part.name, part.arguments) for part in parts] == [(0, "look_up", '{"what": "叶"}')]
        assert parts[0].id != call.id
        assert events[-1].finished.finish_reason == v1.FinishReason.FINISH_REASON_TOOL_CALLS


async def test_a_call_that_is_cut_off_is_text() -> None:
    async with serving([reply()]) as served:
        asked = chat(tools=[LOOK_UP], sampling=v1.SamplingParameters(max_tokens=40))
        [choice] = (await served.call("Chat", asked)).choices
        assert choice.finish_reason == v1.FinishReason.FINISH_REASON_LENGTH
        assert choice.message.content == reply()[:40]
        assert not choice.message.tool_calls


async def test_the_tokens_of_a_conversation_are_those_that_chat_gives_the_model() -> None:
    engine = ScriptedEngine(context_length=4096)
    async with serving(engine) as served:
        await served.call("Chat", chat("为什么？", tools=[LOOK_UP]))
        talk = v1.Conversation(messages=chat("为什么？").messages, tools=[LOOK_UP])
        tokens = (await served.call("Tokenize", v1.TokenizeRequest(conversation=talk))).token_ids
        assert tuple(tokens) == engine.requests[0].prompt_token_ids
        refusal = await refused(served, "Chat", chat("x" * 5000))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CONTEXT_OVERFLOW")
