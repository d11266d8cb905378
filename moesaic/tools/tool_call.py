"""A call that a model, or a person, asks for, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from moesaic.tools.tool_result import ToolResult

__all__ = ["CallStatus", "ToolCall", "ToolOutcome"]


class CallStatus(StrEnum):
    """How a call ended."""

    OK = "ok"
    """With a result."""
    INVALID = "invalid"
    """Not begun: the arguments were refused."""
    REFUSED = "refused"
    """Not begun: there is no such tool for this caller, its budget is spent, or a person said no."""
    TIMED_OUT = "timed_out"
    """Given up: it took longer than it may."""
    FAILED = "failed"
    """The tool could not do it."""


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """A call of a tool."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    """Within a request, one name means one call: its repetition gives the former outcome. Empty: never repeated."""


@dataclass(frozen=True, kw_only=True)
class ToolOutcome:
    """What came of a call. A failure is a value here, to be told to the model, and no exception."""

    call: ToolCall
    status: CallStatus
    content: str
    """Told to the model: the result's content, or what went wrong."""
    result: ToolResult | None = None
    """None unless the status is `ok`."""
    error: str = ""
    """Class of the error; empty if there was none."""
    attempts: int = 0
    """How often the tool was called."""
    duration_s: float = 0.0
    """Seconds, waiting for approval included."""
    approval: str = ""
    """What a person decided: approved, edited or refused; empty if nobody was asked."""
    repeated: bool = False
    """Whether the outcome is that of an earlier call with the same name."""
    foreign: bool = True
    """Whether the content holds text that somebody else wrote."""

    @property
    def ok(self) -> bool:
        """Whether there is a result."""
        return self.status is CallStatus.OK

    def to_json(self) -> dict[str, Any]:
        """The outcome as plain JSON values."""
        return {
            "id": self.call.id,
            "name": self.call.name,
            "arguments": dict(self.call.arguments),
            "status": str(self.status),
            "content": self.content,
            "result": None if self.result is None else self.result.to_json(),
            "error": self.error,
            "attempts": self.attempts,
            "duration_s": self.duration_s,
            "approval": self.approval,
            "repeated": self.repeated,
        }
