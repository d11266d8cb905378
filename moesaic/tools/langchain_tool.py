"""A toolbox as LangChain tools: the only file of this package that imports langchain_core.

    tools = langchain_tools(toolbox, ToolContext.here(timeout_s=60))
    create_agent(model, tools)

Every call goes through the toolbox. `content` is what the model is told, `artifact` the outcome's `to_json()`; a call
that went wrong is a message with the status `error`, never an exception.
"""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

from langchain_core.tools import BaseTool, ToolException
from pydantic import ConfigDict, Field

from moesaic.tools.tool import Tool
from moesaic.tools.tool_call import ToolCall, ToolOutcome
from moesaic.tools.tool_context import ToolContext
from moesaic.tools.toolbox import Toolbox

__all__ = ["MoesaicTool", "as_langchain", "langchain_tools"]


class MoesaicTool(BaseTool):
    """One tool of a toolbox, for one caller."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    toolbox: Toolbox = Field(exclude=True, repr=False)
    """Where calls go."""
    context: ToolContext = Field(exclude=True, repr=False)
    """On whose behalf."""

    def _to_args_and_kwargs(
        self, tool_input: str | dict[str, Any], tool_call_id: str | None
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        """Leave reading to the toolbox, which tells the model what is wrong and writes it down."""
        if isinstance(tool_input, str):
            tool_input = {next(iter(self.args), "input"): tool_input}
        return (), {"given": dict(tool_input), "call_id": tool_call_id or ""}

    def _run(self, given: dict[str, Any], call_id: str) -> tuple[str, dict[str, Any]]:
        return _told(_waited(self._outcome(given, call_id)))

    async def _arun(self, given: dict[str, Any], call_id: str) -> tuple[str, dict[str, Any]]:
        return _told(await self._outcome(given, call_id))

    async def _outcome(self, given: dict[str, Any], call_id: str) -> ToolOutcome:
        return await self.toolbox.call(ToolCall(name=self.name, arguments=given, id=call_id), self.context)


def langchain_tools(toolbox: Toolbox, context: ToolContext) -> list[BaseTool]:
    """The tools that a caller may call."""
    return [as_langchain(tool, toolbox, context) for tool in toolbox.offered(context)]


def as_langchain(tool: Tool[Any], toolbox: Toolbox, context: ToolContext) -> MoesaicTool:
    """One tool of `toolbox`."""
    typed = tool.schema == tool.arguments.model_json_schema()
    return MoesaicTool(
        name=tool.name,
        description=tool.description,
        args_schema=tool.arguments if typed else tool.schema,
        response_format="content_and_artifact",
        handle_tool_error=True,
        toolbox=toolbox,
        context=context,
    )


def _told(outcome: ToolOutcome) -> tuple[str, dict[str, Any]]:
    if not outcome.ok:
        raise ToolException(outcome.content)
    return outcome.content, outcome.to_json()


def _waited(asked: Coroutine[Any, Any, ToolOutcome]) -> ToolOutcome:
    """Run it on a loop of its own, in a thread of its own where this one has a loop already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(asked)

    found: list[ToolOutcome | BaseException] = []

    def run() -> None:
        try:
            found.append(asyncio.run(asked))
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run, name="moesaic-tool")
    thread.start()
    thread.join()
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]
