"""What a model may call: a Python sandbox, search engines, a calculator; each with a schema and limits.

What acts when a model asks belongs here. A tool knows nothing of who calls it: `moesaic.chains` runs the loop.

    from moesaic.tools import ToolCall, ToolContext, Toolbox
    from moesaic.tools.builtin import Calculator

    call = ToolCall(name="calculator", arguments={"expression": "15% of 3 km"})
    outcome = await Toolbox([Calculator()]).call(call, ToolContext.here())

tool.py               Tool, its arguments; tool_result.py, tool_context.py, tool_call.py: what goes in and comes out
toolbox.py            Toolbox, between a model's wish and its execution; toolbox_options.py: its limits
approval.py           a person in the loop; call_budget.py: how many calls; remembered_calls.py: none of them twice
audit.py              the record of every call; redaction.py: without secrets
langchain_tool.py     tools as LangChain's
builtin/              calculator, date and time, knowledge base, web search, pages, Python, SQL
sandbox/              where programs run
search/, page/        search engines, and pages of the web
shield/               foreign text made harmless
mcp/                  tools for and from MCP
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moesaic.tools.approval import Approval, ApprovalRequest, Approver, Decision
    from moesaic.tools.audit import AuditEntry, AuditLog, JsonLinesAudit, MemoryAudit
    from moesaic.tools.call_budget import CallBudget
    from moesaic.tools.tool import Tool, ToolArguments
    from moesaic.tools.tool_call import CallStatus, ToolCall, ToolOutcome
    from moesaic.tools.tool_context import ToolContext
    from moesaic.tools.tool_result import ToolCitation, ToolResult
    from moesaic.tools.toolbox import EVERYBODY, Toolbox
    from moesaic.tools.toolbox_options import ToolboxOptions

__all__ = [
    "EVERYBODY",
    "Approval",
    "ApprovalRequest",
    "Approver",
    "AuditEntry",
    "AuditLog",
    "CallBudget",
    "CallStatus",
    "Decision",
    "JsonLinesAudit",
    "MemoryAudit",
    "Tool",
    "ToolArguments",
    "ToolCall",
    "ToolCitation",
    "ToolContext",
    "ToolOutcome",
    "ToolResult",
    "Toolbox",
    "ToolboxOptions",
]

_MODULES = {
    "approval": ("Approval", "ApprovalRequest", "Approver", "Decision"),
    "audit": ("AuditEntry", "AuditLog", "JsonLinesAudit", "MemoryAudit"),
    "call_budget": ("CallBudget",),
    "tool": ("Tool", "ToolArguments"),
    "tool_call": ("CallStatus", "ToolCall", "ToolOutcome"),
    "tool_context": ("ToolContext",),
    "tool_result": ("ToolCitation", "ToolResult"),
    "toolbox": ("EVERYBODY", "Toolbox"),
    "toolbox_options": ("ToolboxOptions",),
}


def __getattr__(name: str) -> Any:
    """Bring a class when it is asked for."""
    module = next((module for module, names in _MODULES.items() if name in names), None)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
