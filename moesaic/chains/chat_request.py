"""What LangChain passes to a chat model, as a request of the wire.

Tools, choices and formats come in the shapes that LangChain and OpenAI share:

    tools            what `convert_to_openai_tool` takes; an empty list is left out
    tool_choice      auto, none, any, required, a tool's name, or {"type": "function", "function": {"name": …}}
    response_format  {"type": "json_schema", "json_schema": {"schema": …}}, {"type": "json_object"} or {"type": "text"}
    constraint       a `v1.Constraint`: a regular expression, a choice, a grammar, …

`strict` is taken and changes nothing: arguments and answers always satisfy their schemas, for the server draws no token
that would break them.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel

from moesaic import v1
from moesaic.chains.chat_messages import wire_messages
from moesaic.errors import RequestError

__all__ = ["SAMPLING_FIELDS", "chat_request", "openai_tool", "wire_tools"]

SAMPLING_FIELDS = (
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "logprobs",
)
"""Options of a call that are fields of `v1.SamplingParameters`, by the same name."""

_MODES = {
    "auto": v1.ToolMode.TOOL_MODE_AUTO,
    "none": v1.ToolMode.TOOL_MODE_NONE,
    "any": v1.ToolMode.TOOL_MODE_REQUIRED,
    "required": v1.ToolMode.TOOL_MODE_REQUIRED,
}
_OPTIONS = frozenset(
    {
        *SAMPLING_FIELDS,
        "constraint",
        "model",
        "parallel_tool_calls",
        "priority",
        "response_format",
        "stop",
        "stream",
        "strict",
        "tool_choice",
        "tools",
    }
)


def chat_request(messages: Sequence[BaseMessage], options: Mapping[str, Any]) -> v1.ChatRequest:
    """The request for an answer.

    Args:
        messages: the conversation.
        options: what was given with the call, by name; None stands for the server's default.

    Raises:
        RequestError: an option is unknown, or its value cannot be put on the wire.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if unknown := sorted(set(given) - _OPTIONS):
        raise RequestError(unknown[0], f"this model has no such option; it has {', '.join(sorted(_OPTIONS))}")

    request = v1.ChatRequest(messages=wire_messages(messages))
    for name in ("model", "priority"):
        _set(request, name, given.get(name))
    for name in SAMPLING_FIELDS:
        _set(request.sampling, name, given.get(name))
    request.sampling.stop.extend(given.get("stop", ()))
    if (constraint := _constraint(given)) is not None:
        request.sampling.constraint.CopyFrom(constraint)
    if tools := given.get("tools"):
        request.tools.extend(wire_tools(tools))
        request.tool_choice.CopyFrom(_tool_choice(given))
    return request


def openai_tool(tool: Any) -> dict[str, Any]:
    """A tool of any kind in OpenAI's shape.

    Core writes out the classes that a class refers to, which one that refers to itself does not survive: where there
    are such references, they are kept.
    """
    converted: dict[str, Any] = convert_to_openai_tool(tool)
    schema = tool.tool_call_schema if isinstance(tool, BaseTool) else tool
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        schema = schema.model_json_schema()
    if isinstance(schema, dict) and "$defs" in schema:
        converted["function"]["parameters"] = schema
    return converted


def wire_tools(tools: Sequence[Any]) -> list[v1.Tool]:
    """Tools as the server takes them."""
    functions = [openai_tool(tool)["function"] for tool in tools]
    return [
        v1.Tool(
            name=function["name"],
            description=function.get("description", ""),
            parameters_json_schema=json.dumps(function.get("parameters") or {"type": "object"}, ensure_ascii=False),
        )
        for function in functions
    ]


def _set(message: Any, name: str, value: Any) -> None:
    """Set a field of a message; protobuf's complaint becomes ours."""
    if value is None:
        return
    try:
        setattr(message, name, value)
    except (TypeError, ValueError) as error:
        raise RequestError(name, f"{value!r} cannot be sent ({error})") from error


def _tool_choice(given: Mapping[str, Any]) -> v1.ToolChoice:
    choice = given.get("tool_choice", "auto")
    if isinstance(choice, bool):
        choice = "required" if choice else "none"
    if isinstance(choice, dict):
        choice = choice.get("function", choice).get("name") or choice.get("type")
    if not isinstance(choice, str):
        raise RequestError("tool_choice", f"{choice!r} is neither {', '.join(_MODES)} nor the name of a tool")
    wire = v1.ToolChoice(mode=_MODES[choice]) if choice in _MODES else v1.ToolChoice(name=choice)
    if given.get("parallel_tool_calls") is False and wire.mode in (_MODES["auto"],):
        raise RequestError(
            "parallel_tool_calls", "False is only kept where a tool must be called: give tool_choice, or leave it out"
        )
    return wire


def _constraint(given: Mapping[str, Any]) -> v1.Constraint | None:
    wanted = given.get("response_format")
    if wanted is None or wanted == {"type": "text"}:
        constraint: v1.Constraint | None = given.get("constraint")
        return constraint
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "json_object":
        return v1.Constraint(json_object=v1.JsonObject())
    schema = wanted["json_schema"].get("schema") if kind == "json_schema" and "json_schema" in wanted else None
    if not isinstance(schema, dict):
        raise RequestError(
            "response_format",
            f"{wanted!r} is neither {{'type': 'json_schema', 'json_schema': {{'schema': …}}}} nor "
            "{'type': 'json_object'}; with_structured_output takes classes",
        )
    return v1.Constraint(json_schema=json.dumps(schema, ensure_ascii=False))
