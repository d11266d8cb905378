"""LangChain's messages and those of the wire, in both directions.

- Messages are text. Blocks that only repeat what a message says elsewhere (calls of tools) or what the model thought
  are left out; images, audio and files are refused.
- A failed tool is told to the model in words: the wire has no status for it.
- Names of speakers are not part of the wire.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    InvalidToolCall,
    SystemMessage,
    ToolCall,
    ToolMessage,
)
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk

from moesaic import v1
from moesaic.errors import RequestError

__all__ = ["answer_message", "delta_chunk", "final_chunk", "wire_messages"]

_ROLES = {
    "system": v1.Role.ROLE_SYSTEM,
    "developer": v1.Role.ROLE_SYSTEM,
    "user": v1.Role.ROLE_USER,
    "human": v1.Role.ROLE_USER,
    "assistant": v1.Role.ROLE_ASSISTANT,
    "ai": v1.Role.ROLE_ASSISTANT,
}
_SILENT_BLOCKS = frozenset(
    {
        "tool_use",
        "tool_call",
        "tool_call_chunk",
        "invalid_tool_call",
        "function_call",
        "input_json_delta",
        "thinking",
        "redacted_thinking",
        "reasoning",
        "reasoning_content",
    }
)


def wire_messages(messages: Sequence[BaseMessage]) -> list[v1.ChatMessage]:
    """The messages as the server takes them.

    Raises:
        RequestError: a message holds something else than text, or has a role that the wire does not know.
    """
    sent = []
    for rank, message in enumerate(messages):
        field = f"messages[{rank}]"
        try:
            sent.append(_wire_message(message, field))
        except UnicodeEncodeError as error:
            raise RequestError(field, f"it holds half a character ({error.reason}): give text in UTF-8") from error
    return sent


def _wire_message(message: BaseMessage, field: str) -> v1.ChatMessage:
    text = _text(message.content, field)
    if isinstance(message, ToolMessage):
        failed = message.status == "error" and not text.lower().startswith("error")
        content = f"Error: {text}" if failed else text
        return v1.ChatMessage(role=v1.Role.ROLE_TOOL, content=content, tool_call_id=message.tool_call_id)
    if isinstance(message, AIMessage):
        calls = [_wire_call(call, f"call_{rank}") for rank, call in enumerate(message.tool_calls)]
        return v1.ChatMessage(role=v1.Role.ROLE_ASSISTANT, content=text, tool_calls=calls)
    if isinstance(message, SystemMessage):
        return v1.ChatMessage(role=v1.Role.ROLE_SYSTEM, content=text)
    if isinstance(message, HumanMessage):
        return v1.ChatMessage(role=v1.Role.ROLE_USER, content=text)
    role = message.role if isinstance(message, ChatMessage) else message.type
    if role not in _ROLES:
        raise RequestError(field, f"{role!r} is no role of a conversation: use {', '.join(_ROLES)}, or a ToolMessage")
    return v1.ChatMessage(role=_ROLES[role], content=text)


def _wire_call(call: ToolCall, name: str) -> v1.ToolCall:
    arguments = json.dumps(call["args"], ensure_ascii=False)
    return v1.ToolCall(id=call["id"] or name, name=call["name"], arguments=arguments)


def _text(content: str | Sequence[str | dict[str, Any]], field: str) -> str:
    if isinstance(content, str):
        return content
    parts = []
    for block in content:
        kind = "text" if isinstance(block, str) else str(block.get("type"))
        if kind == "text":
            parts.append(block if isinstance(block, str) else str(block.get("text", "")))
        elif kind not in _SILENT_BLOCKS:
            raise RequestError(field, f"a block of type {kind!r} cannot be read: this model reads text only")
    return "".join(parts)


def answer_message(response: v1.ChatResponse, choice: v1.ChatChoice) -> AIMessage:
    """One answer of the model."""
    calls, broken = _calls(choice.message.tool_calls)
    return AIMessage(
        content=choice.message.content,
        tool_calls=calls,
        invalid_tool_calls=broken,
        usage_metadata=_usage(response.usage),
        response_metadata=_metadata(response, choice.finish_reason) | _logprobs(choice.logprobs),
    )


def delta_chunk(delta: v1.ChatDelta) -> AIMessageChunk:
    """What is new in an answer."""
    calls = [
        tool_call_chunk(name=part.name or None, args=part.arguments, id=part.id or None, index=part.call_index)
        for part in delta.tool_calls
    ]
    return AIMessageChunk(content=delta.text, tool_call_chunks=calls, response_metadata=_logprobs(delta.logprobs))


def final_chunk(started: v1.Started, finished: v1.Finished) -> AIMessageChunk:
    """The end of an answer: only here stands what holds for all of it, since chunks are added up."""
    return AIMessageChunk(
        content="",
        usage_metadata=_usage(finished.usage),
        response_metadata=_metadata(started, finished.finish_reason),
        chunk_position="last",
    )


def _calls(calls: Iterable[v1.ToolCall]) -> tuple[list[ToolCall], list[InvalidToolCall]]:
    """The calls whose arguments can be read, and those that were cut off."""
    sound, broken = [], []
    for call in calls:
        try:
            arguments = json.loads(call.arguments or "{}")
        except ValueError as error:
            broken.append(
                invalid_tool_call(name=call.name, args=call.arguments, id=call.id, error=f"not JSON: {error}")
            )
            continue
        sound.append(tool_call(name=call.name, args=arguments, id=call.id))
    return sound, broken


def _metadata(source: v1.ChatResponse | v1.Started, reason: v1.FinishReason) -> dict[str, Any]:
    return {
        "model_name": source.model,
        "model_provider": "moesaic",
        "weight_version": source.weight_version,
        "request_id": source.request_id,
        "finish_reason": v1.FinishReason.Name(reason).removeprefix("FINISH_REASON_").lower(),
    }


def _usage(usage: v1.Usage) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
        input_token_details=InputTokenDetails(cache_read=usage.cached_tokens),
    )


def _logprobs(tokens: Iterable[v1.TokenLogprob]) -> dict[str, Any]:
    """Log-probabilities in nats as a list, so that those of several chunks add up; nothing if there are none."""
    content = [
        {
            "token_id": token.token_id,
            "logprob": token.logprob,
            "top_logprobs": [{"token_id": other.token_id, "logprob": other.logprob} for other in token.top],
        }
        for token in tokens
    ]
    return {"logprobs": {"content": content}} if content else {}
