"""Tools for and from the Model Context Protocol, through its official SDK.

    await serve_stdio(toolbox, ToolContext.here())                        # ours, for an editor or an assistant
    async with remote_tools(stdio_command("some-server")) as tools: ...   # theirs, for our toolbox

toolbox_server.py   our toolbox as a server; remote_tools.py: the tools of a server; dependency.py: the SDK, when needed
"""

from moesaic.tools.mcp.remote_tools import RemoteTool, remote_tools, stdio_command
from moesaic.tools.mcp.toolbox_server import mcp_server, serve_stdio

__all__ = ["RemoteTool", "mcp_server", "remote_tools", "serve_stdio", "stdio_command"]
