"""`Toolbox`: the tools of a service, and everything that stands between a model's wish and their execution.

    toolbox = Toolbox([Calculator(), KnowledgeSearch(base)], allowed={"acme": {"calculator"}})
    outcome = await toolbox.call(ToolCall(name="calculator", arguments={"expression": "3*4"}), ToolContext.here())
    outcome.status, outcome.content, outcome.result

In this order: audit, allow-list, who may have programs executed, arguments, repetition, budget, approval, then the
call itself under its time limit, again if that is harmless and may help, its result within limits, audit.
What goes wrong is an outcome to be told to the model. Only two things are raised: cancellation, and an audit that
cannot be written.
"""

import asyncio
import hashlib
import json
import logging
import random
import re
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from moesaic.errors import DeadlineExceededError, InputError, MoesaicError, ToolRefusedError
from moesaic.tools.approval import Approval, ApprovalRequest, Approver, Decision
from moesaic.tools.audit import AuditEntry, AuditLog, MemoryAudit, result_digest
from moesaic.tools.remembered_calls import CallKey, RememberedCalls
from moesaic.tools.tool import Tool
from moesaic.tools.tool_call import CallStatus, ToolCall, ToolOutcome
from moesaic.tools.tool_context import ToolContext
from moesaic.tools.tool_result import ToolResult
from moesaic.tools.toolbox_options import ToolboxOptions

__all__ = ["EVERYBODY", "Toolbox"]

EVERYBODY = "*"
"""The tenant of an allow-list that holds for all who have none of their own."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_log = logging.getLogger(__name__)


class Toolbox:
    """Tools that may be called, by whom, and within which limits.

    Args:
        tools: each with a name of its own.
        options: the limits.
        allowed: names of tools by tenant, `EVERYBODY` for the others; None: everybody may call every tool.
        approver: asks a person; without one, calls that need approval are refused.
        audit: where every call is written down.
    """

    def __init__(
        self,
        tools: Iterable[Tool[Any]],
        *,
        options: ToolboxOptions | None = None,
        allowed: Mapping[str, Collection[str]] | None = None,
        approver: Approver | None = None,
        audit: AuditLog | None = None,
    ) -> None:
        self.options = options or ToolboxOptions()
        self.audit: AuditLog = MemoryAudit() if audit is None else audit
        self._tools = _by_name(tools)
        self._allowed = None if allowed is None else {tenant: frozenset(names) for tenant, names in allowed.items()}
        self._approver = approver
        self._remembered = RememberedCalls(self.options.remembered_calls)
        for names in [self.options.needs_approval, *(self._allowed or {}).values()]:
            if unknown := sorted(names - set(self._tools)):
                raise InputError(f"{unknown[0]!r} is no tool of this box; it has {', '.join(self._tools) or 'none'}")

    def offered(self, context: ToolContext) -> list[Tool[Any]]:
        """The tools that this caller may call, in the order in which they were given."""
        return [tool for tool in self._tools.values() if self._objection(tool, context) is None]

    def find(self, name: str, context: ToolContext) -> Tool[Any]:
        """A tool that this caller may call.

        Raises:
            ToolRefusedError: there is none of this name for the caller.
        """
        offered = ", ".join(tool.name for tool in self.offered(context)) or "none"
        tool = self._tools.get(name)
        # Whether a tool exists that a tenant may not call is not the tenant's business.
        if tool is None or not self._lists(tool, context):
            raise ToolRefusedError(f"there is no tool {name!r:.80} here; there are: {offered}")
        if (objection := self._objection(tool, context)) is not None:
            raise ToolRefusedError(objection)
        return tool

    async def call(self, call: ToolCall, context: ToolContext) -> ToolOutcome:
        """Make a call.

        Raises:
            StorageError: the audit cannot be written; if it is the first line of the call, the tool was not called.
        """
        context = replace(context, call_id=call.id)
        began = time.monotonic()
        self._write("begun", call, context)
        try:
            outcome = await self._outcome(call, context)
        except asyncio.CancelledError:
            self._write("ended", call, context, status="cancelled", duration_s=round(time.monotonic() - began, 6))
            raise
        outcome = replace(outcome, duration_s=round(time.monotonic() - began, 6))
        self._write_end(outcome, context)
        return outcome

    def _lists(self, tool: Tool[Any], context: ToolContext) -> bool:
        """Whether the tenant's allow-list has the tool."""
        if self._allowed is None:
            return True
        return tool.name in self._allowed.get(context.tenant, self._allowed.get(EVERYBODY, frozenset()))

    def _objection(self, tool: Tool[Any], context: ToolContext) -> str | None:
        """Why the caller may not call the tool."""
        if not self._lists(tool, context):
            return f"{context.tenant!r:.80} may not call {tool.name!r}; ask the operator for it"
        if tool.executes_programs and not context.may_execute:
            return (
                f"{tool.name!r} executes programs, which callers over a network may only ask for with a credential: "
                "authenticate, or call from this machine"
            )
        return None

    async def _outcome(self, call: ToolCall, context: ToolContext) -> ToolOutcome:
        try:
            tool = self.find(call.name, context)
            arguments = tool.read(call.arguments)
            if not call.id:
                return await self._admitted(tool, arguments, call, context)

            key = CallKey(context.tenant, context.request_id, call.id)
            outcome, repeated = await self._remembered.once(
                key, _digest(call), lambda: self._admitted(tool, arguments, call, context)
            )
            return replace(outcome, repeated=repeated)
        except MoesaicError as error:
            return _failed(call, error)

    async def _admitted(self, tool: Tool[Any], arguments: Any, call: ToolCall, context: ToolContext) -> ToolOutcome:
        """Spend, ask, and call."""
        try:
            if context.budget is not None:
                context.budget.spend()
            if not (tool.needs_approval or tool.name in self.options.needs_approval):
                return await self._attempts(tool, arguments, call, context)

            approval = await self._asked(tool, call, context)
            if approval.decision is Decision.REFUSED:
                raise ToolRefusedError(f"a person refused the call: {approval.reason or 'no reason given'}")
            if approval.decision is Decision.EDITED:
                call = replace(call, arguments=dict(approval.arguments or {}))
                arguments = tool.read(call.arguments)
            outcome = await self._attempts(tool, arguments, call, context)
            return replace(outcome, approval=_signed(approval.decision, approval.by))
        except MoesaicError as error:
            return _failed(call, error)

    async def _asked(self, tool: Tool[Any], call: ToolCall, context: ToolContext) -> Approval:
        if self._approver is None:
            raise ToolRefusedError(f"{tool.name!r} needs a person's approval, and nobody can be asked here")
        request = ApprovalRequest(
            tool=tool.name, description=tool.description, arguments=dict(call.arguments), context=context
        )
        wait_s = context.remaining_s(self.options.approval_timeout_s)
        try:
            async with asyncio.timeout(wait_s):
                return await self._approver(request)
        except TimeoutError as error:
            raise ToolRefusedError(f"nobody approved the call of {tool.name!r} within {wait_s:g} s") from error

    async def _attempts(self, tool: Tool[Any], arguments: Any, call: ToolCall, context: ToolContext) -> ToolOutcome:
        """Call the tool, again where that is harmless and may help."""
        attempt = 0
        while True:
            attempt += 1
            try:
                result = await self._attempt(tool, arguments, context)
                return ToolOutcome(
                    call=call,
                    status=CallStatus.OK,
                    content=result.content,
                    result=result,
                    attempts=attempt,
                    foreign=tool.gives_foreign_text,
                )
            except Exception as error:
                passing = isinstance(error, tool.transient) and tool.idempotent and attempt < self.options.attempts
                if not passing or not await self._backed_off(attempt, context):
                    failed = _failed(call, error)
                    foreign = tool.gives_foreign_text and failed.status is CallStatus.FAILED
                    return replace(failed, attempts=attempt, foreign=foreign)

    async def _attempt(self, tool: Tool[Any], arguments: Any, context: ToolContext) -> ToolResult:
        limit_s = context.remaining_s(self.options.timeout_s if tool.timeout_s is None else tool.timeout_s)
        try:
            async with asyncio.timeout(limit_s) as limit:
                result = await tool.call(arguments, context)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise DeadlineExceededError(f"{tool.name} took longer than {limit_s:.3g} s: ask for less") from error
        return result.limited(characters=self.options.result_characters, artifact_bytes=self.options.artifact_bytes)

    async def _backed_off(self, attempt: int, context: ToolContext) -> bool:
        """Wait before the next attempt; False if there is no time for it."""
        wait_s = self.options.backoff_s * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)
        if context.deadline is not None and time.monotonic() + wait_s >= context.deadline:
            return False
        await asyncio.sleep(wait_s)
        return True

    def _write_end(self, outcome: ToolOutcome, context: ToolContext) -> None:
        self._write(
            "ended",
            outcome.call,
            context,
            status=str(outcome.status),
            error=f"{outcome.error}: {outcome.content}" if outcome.error else "",
            attempts=outcome.attempts,
            approval=outcome.approval,
            repeated=outcome.repeated,
            duration_s=outcome.duration_s,
            result_digest=result_digest(outcome.content),
        )

    def _write(self, event: str, call: ToolCall, context: ToolContext, **more: Any) -> None:
        self.audit.append(
            AuditEntry(
                event=event,
                tenant=context.tenant,
                request_id=context.request_id,
                call_id=call.id,
                tool=call.name,
                arguments=dict(call.arguments),
                **more,
            )
        )


def _by_name(tools: Iterable[Tool[Any]]) -> dict[str, Tool[Any]]:
    found: dict[str, Tool[Any]] = {}
    for tool in tools:
        if not _NAME.fullmatch(tool.name):
            raise InputError(f"{tool.name!r:.80} is no name of a tool: 1 to 64 letters, digits, underscores, hyphens")
        if tool.name in found:
            raise InputError(f"two tools are called {tool.name!r}; names are unique within a box")
        found[tool.name] = tool
    return found


def _failed(call: ToolCall, error: Exception) -> ToolOutcome:
    """The outcome of a call that went wrong."""
    if isinstance(error, InputError):
        status = CallStatus.INVALID
    elif isinstance(error, ToolRefusedError):
        status = CallStatus.REFUSED
    elif isinstance(error, DeadlineExceededError | TimeoutError):
        status = CallStatus.TIMED_OUT
    else:
        status = CallStatus.FAILED
    content = str(error)
    if not isinstance(error, MoesaicError):
        # A defect of the tool, or of what it uses: its words are for the log, not for a model.
        _log.error("the tool %s failed", call.name, exc_info=error)
        content = f"{call.name} failed for a reason of its own ({type(error).__name__}); go on without it"
    return ToolOutcome(call=call, status=status, content=content, error=type(error).__name__, foreign=False)


def _digest(call: ToolCall) -> str:
    """Of the tool and its arguments, whatever their order."""
    written = json.dumps([call.name, dict(call.arguments)], sort_keys=True, default=str)
    return hashlib.sha256(written.encode(errors="replace")).hexdigest()


def _signed(decision: Decision, by: str) -> str:
    return f"{decision} by {by}" if by else str(decision)
