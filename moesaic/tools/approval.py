"""A person in the loop: asked before a call, they agree, change its arguments, or refuse."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from moesaic.tools.tool_context import ToolContext

__all__ = ["Approval", "ApprovalRequest", "Approver", "Decision"]


class Decision(StrEnum):
    """What a person says to a call."""

    APPROVED = "approved"
    """As it is."""
    EDITED = "edited"
    """With other arguments, which are checked again."""
    REFUSED = "refused"
    """Not at all; the model is told, and why."""


@dataclass(frozen=True, kw_only=True)
class ApprovalRequest:
    """What a person is asked."""

    tool: str
    description: str
    arguments: Mapping[str, Any]
    """As the model gave them, checked."""
    context: ToolContext


@dataclass(frozen=True, kw_only=True)
class Approval:
    """What the person said."""

    decision: Decision
    arguments: Mapping[str, Any] | None = None
    """With `edited`: all arguments that count instead."""
    reason: str = ""
    """With `refused`: told to the model."""
    by: str = ""
    """Who it was, for the audit."""


Approver = Callable[[ApprovalRequest], Awaitable[Approval]]
"""Asks a person, however long that takes: the toolbox bounds the wait."""
