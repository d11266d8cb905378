"""A conversation of `moesaic.v1` as the prompt that the model's chat template makes of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moesaic import v1
from moesaic.errors import RequestError, UnsupportedFeatureError
from moesaic.server.engine import Constraint, Tokenizer
from moesaic.server.tool_calls import BEGIN, END, ToolSpecification, constraint_for, offer

__all__ = ["Prompt", "has_chat_template", "prompt_of"]

_ROLES: Mapping[int, str] = {
    v1.Role.ROLE_SYSTEM: "system",
    v1.Role.ROLE_USER: "user",
    v1.Role.ROLE_ASSISTANT: "assistant",
    v1.Role.ROLE_TOOL: "tool",
}
_MAX_MESSAGES = 4096
_MAX_TOOLS = 128


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What the model reads, and how its answer is kept in form."""

    text: str
    """With all special tokens in it."""
    constraint: Constraint | None = None
    """Keeps calls of tools in form; None where there are no tools."""
    tools_required: bool = False
    """Whether the whole answer is one call."""
    tools_offered: bool = False
    """Whether the answer may have calls in it."""


def has_chat_template(tokenizer: Tokenizer) -> bool:
    """Whether conversations are possible; a tokenizer without the attribute has its template built in."""
    return getattr(tokenizer, "chat_template", "built in") is not None


def prompt_of(
    tokenizer: Tokenizer,
    messages: Sequence[v1.ChatMessage],
    tools: Sequence[v1.Tool] = (),
    choice: v1.ToolChoice | None = None,
) -> Prompt:
    """The prompt of a conversation, with the tools that may be called.

    Raises:
        RequestError: a role, a tool or the order of messages that the template refuses.
        UnsupportedFeatureError: the model has no chat template.
    """
    if not has_chat_template(tokenizer):
        raise UnsupportedFeatureError("this model has no chat template: it continues text; use Generate")
    if not 1 <= len(messages) <= _MAX_MESSAGES:
        raise RequestError("messages", f"{len(messages)} messages; give 1 to {_MAX_MESSAGES}")

    offered, required = _chosen(_checked(tools), choice or v1.ToolChoice())
    turns = [_turn(index, message) for index, message in enumerate(messages)]
    template = str(getattr(tokenizer, "chat_template", ""))
    options: dict[str, Any] = {}
    if offered and "tools" in template:
        options["tools"] = [tool.to_template() for tool in offered]
    elif offered:
        turns = _instructed(turns, offer(offered, required=required))
    if "tool_calls" not in template:
        turns = [_without_calls(turn) for turn in turns]
    try:
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, **options)
    except Exception as error:  # templates are programs: what one raises is its refusal of these messages
        raise RequestError("messages", f"the model's chat template refuses them: {str(error)[:200]}") from error
    if text != text.encode(errors="replace").decode():
        raise RequestError("messages", "hold half a surrogate pair, as an escape in JSON: write whole characters")
    return Prompt(
        text=text,
        constraint=constraint_for(offered, required=required) if offered else None,
        tools_required=required,
        tools_offered=bool(offered),
    )


def _checked(tools: Sequence[v1.Tool]) -> list[ToolSpecification]:
    if len(tools) > _MAX_TOOLS:
        raise RequestError("tools", f"{len(tools)} tools; at most {_MAX_TOOLS}")

    checked = [
        ToolSpecification.checked(f"tools[{index}]", tool.name, tool.description, tool.parameters_json_schema)
        for index, tool in enumerate(tools)
    ]
    names = [tool.name for tool in checked]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise RequestError("tools", f"{', '.join(repeated)[:200]} is there more than once; names are unique")
    return checked


def _chosen(tools: list[ToolSpecification], choice: v1.ToolChoice) -> tuple[list[ToolSpecification], bool]:
    """The tools to offer, and whether one must be called."""
    kind = choice.WhichOneof("choice")
    if kind == "name":
        named = [tool for tool in tools if tool.name == choice.name]
        if not named:
            known = ", ".join(tool.name for tool in tools)[:200] or "none"
            raise RequestError("tool_choice.name", f"{choice.name[:80]!r} is not among the tools ({known})")
        return named, True

    if choice.mode not in v1.ToolMode.values():
        raise RequestError("tool_choice.mode", f"{choice.mode} is unknown; use AUTO, NONE or REQUIRED")
    if choice.mode == v1.ToolMode.TOOL_MODE_NONE:
        return [], False
    if choice.mode == v1.ToolMode.TOOL_MODE_REQUIRED:
        if not tools:
            raise RequestError("tool_choice.mode", "REQUIRED needs at least one tool")
        return tools, True
    return tools, False


def _turn(index: int, message: v1.ChatMessage) -> dict[str, Any]:
    role = _ROLES.get(message.role)
    if role is None:
        raise RequestError(f"messages[{index}].role", f"{message.role} is not SYSTEM, USER, ASSISTANT or TOOL")

    turn: dict[str, Any] = {"role": role, "content": message.content}
    if message.tool_calls and role != "assistant":
        raise RequestError(f"messages[{index}].tool_calls", f"only the assistant calls tools, not the {role}")
    if message.tool_calls:
        turn["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": _arguments(index, position, call.arguments)},
            }
            for position, call in enumerate(message.tool_calls)
        ]
    if message.tool_call_id:
        turn["tool_call_id"] = message.tool_call_id
    return turn


def _arguments(index: int, position: int, text: str) -> dict[str, Any]:
    field = f"messages[{index}].tool_calls[{position}].arguments"
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise RequestError(field, f"{text[:80]!r} is not JSON ({str(error)[:80]})") from error
    if not isinstance(value, dict):
        raise RequestError(field, f"{text[:80]!r} is not a JSON object")
    return value


def _instructed(turns: list[dict[str, Any]], instruction: str) -> list[dict[str, Any]]:
    """The turns, with an instruction in the system message."""
    if turns[0]["role"] == "system":
        first = turns[0] | {"content": f"{turns[0]['content']}\n\n{instruction}"}
        return [first, *turns[1:]]
    return [{"role": "system", "content": instruction}, *turns]


def _without_calls(turn: dict[str, Any]) -> dict[str, Any]:
    """A turn for templates that do not know calls: they become text, as the model would have written it."""
    calls = turn.get("tool_calls")
    if not calls:
        return turn

    written = [f"{BEGIN}\n{json.dumps(call['function'], ensure_ascii=False)}\n{END}" for call in calls]
    parts = [turn["content"], *written] if turn["content"] else written
    return {"role": turn["role"], "content": "\n".join(parts)}
