"""Answers as they grow: from an engine's deltas to those of the wire, and from these to whole answers."""

import uuid
from collections.abc import Iterable

from moesaic import v1
from moesaic.server.conversation import Prompt
from moesaic.server.engine import Delta
from moesaic.server.tool_calls import ToolCall, ToolCallReader
from moesaic.server.wire import finish_to_wire, logprobs_to_wire

__all__ = ["ChatReader", "completion_delta", "whole_choices", "whole_completions"]


def completion_delta(delta: Delta, *, drained: bool = False) -> v1.CompletionDelta:
    """A delta of an engine as one of GenerateStream."""
    return v1.CompletionDelta(
        index=delta.index,
        text=delta.text,
        token_ids=delta.token_ids,
        logprobs=logprobs_to_wire(delta),
        finish_reason=finish_to_wire(delta.finish_reason, drained=drained),
    )


class ChatReader:
    """Turns one sequence's deltas into deltas of a conversation: text, and calls of tools.

    Args:
        prompt: what the answer answers.
    """

    def __init__(self, prompt: Prompt) -> None:
        self._calls = 0
        self._reader = ToolCallReader(required=prompt.tools_required) if prompt.tools_offered else None

    def read(self, delta: Delta, *, drained: bool = False) -> v1.ChatDelta | None:
        """What is new for the caller; None if the text so far may still become a call."""
        message = v1.ChatDelta(index=delta.index, logprobs=logprobs_to_wire(delta))
        if self._reader is None:
            message.text = delta.text
        else:
            self._add(message, self._reader.push(delta.text))
        if delta.finish_reason is not None:
            if self._reader is not None:
                self._add(message, self._reader.close())
            message.finish_reason = finish_to_wire(delta.finish_reason, drained=drained)
            if self._calls and message.finish_reason == v1.FinishReason.FINISH_REASON_STOP:
                message.finish_reason = v1.FinishReason.FINISH_REASON_TOOL_CALLS
        new = message.text or message.tool_calls or message.logprobs or message.finish_reason
        return message if new else None

    def _add(self, message: v1.ChatDelta, parts: Iterable[str | ToolCall]) -> None:
        for part in parts:
            if isinstance(part, str):
                message.text += part
                continue

            message.tool_calls.add(
                call_index=self._calls, id=f"call_{uuid.uuid4().hex[:24]}", name=part.name, arguments=part.arguments
            )
            self._calls += 1


def whole_completions(deltas: Iterable[v1.CompletionDelta]) -> list[v1.Completion]:
    """The sequences that deltas make, by index."""
    whole: dict[int, v1.Completion] = {}
    texts: dict[int, list[str]] = {}
    for delta in deltas:
        completion = whole.setdefault(delta.index, v1.Completion(index=delta.index))
        texts.setdefault(delta.index, []).append(delta.text)
        completion.token_ids.extend(delta.token_ids)
        completion.logprobs.extend(delta.logprobs)
        completion.finish_reason = delta.finish_reason or completion.finish_reason
    for index, completion in whole.items():
        completion.text = "".join(texts[index])
    return [whole[index] for index in sorted(whole)]


def whole_choices(deltas: Iterable[v1.ChatDelta]) -> list[v1.ChatChoice]:
    """The answers that deltas make, by index."""
    whole: dict[int, v1.ChatChoice] = {}
    texts: dict[int, list[str]] = {}
    for delta in deltas:
        choice = whole.setdefault(delta.index, v1.ChatChoice(index=delta.index))
        choice.message.role = v1.Role.ROLE_ASSISTANT
        texts.setdefault(delta.index, []).append(delta.text)
        for part in delta.tool_calls:
            choice.message.tool_calls.add(id=part.id, name=part.name, arguments=part.arguments)
        choice.logprobs.extend(delta.logprobs)
        choice.finish_reason = delta.finish_reason or choice.finish_reason
    for index, choice in whole.items():
        choice.message.content = "".join(texts[index])
    return [whole[index] for index in sorted(whole)]
