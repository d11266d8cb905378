"""A toolbox as an MCP server, for hosts such as editors and desktop assistants.

    await serve_stdio(toolbox, ToolContext.here())

Every call goes through the toolbox, with its allow-lists, limits and audit. Over standard input and output the caller
is a program on this machine, so its context may be local. Foreign text in results is cleaned by the shield; marking it
as data is for the host, which alone knows its model's prompt.
"""

from typing import Any

from moesaic import __version__
from moesaic.tools.mcp.dependency import require
from moesaic.tools.shield import Shield
from moesaic.tools.tool_call import ToolCall
from moesaic.tools.tool_context import ToolContext
from moesaic.tools.toolbox import Toolbox

__all__ = ["mcp_server", "serve_stdio"]


def mcp_server(toolbox: Toolbox, context: ToolContext, *, shield: Shield | None = None) -> Any:
    """The SDK's low-level `Server` over a toolbox.

    Args:
        toolbox: the tools.
        context: on whose behalf calls are made.
        shield: what foreign text passes.

    Raises:
        MissingDependencyError: the SDK is not installed.
    """
    types = require("mcp_types")
    guard = shield or Shield()

    async def list_tools(_context: Any, _params: Any) -> Any:
        listed = [
            types.Tool(
                name=tool.name,
                description=tool.description,
                input_schema=tool.schema,
                annotations=types.ToolAnnotations(idempotent_hint=tool.idempotent),
            )
            for tool in toolbox.offered(context)
        ]
        return types.ListToolsResult(tools=listed)

    async def call_tool(_context: Any, params: Any) -> Any:
        outcome = await toolbox.call(ToolCall(name=params.name, arguments=params.arguments or {}), context)
        text = guard.clean(outcome.content).text
        structured = None if outcome.result is None else {"artifact": outcome.result.artifact}
        if outcome.result is not None and outcome.result.citations:
            structured = {**(structured or {}), "citations": [each.to_json() for each in outcome.result.citations]}
        return types.CallToolResult(
            content=[types.TextContent(text=text)], structured_content=structured, is_error=not outcome.ok
        )

    return require("mcp.server.lowlevel").Server(
        "moesaic", version=__version__, on_list_tools=list_tools, on_call_tool=call_tool
    )


async def serve_stdio(toolbox: Toolbox, context: ToolContext) -> None:
    """Serve one host over standard input and output until it hangs up.

    Raises:
        MissingDependencyError: the SDK is not installed.
    """
    server = mcp_server(toolbox, context)
    async with require("mcp.server.stdio").stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())
