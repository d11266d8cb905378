"""Tools of an MCP server as ours.

    async with remote_tools(stdio_command("python", "server.py"), prefix="files") as tools:
        toolbox = Toolbox([*tools, Calculator()])

- What the other server says of itself is foreign text that would stand in every prompt: names are reduced to letters,
  digits, underscores and hyphens, descriptions are cleaned by the shield and cut. Its hints ("idempotent", "read only")
  are not believed; whoever connects to it says what holds.
- Arguments are checked against the names, presence and plain types of its schema; the server checks the rest itself.
- Its tools live as long as the block, on the event loop that it was entered in.
"""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from moesaic.errors import InputError, ToolArgumentError, ToolError
from moesaic.tools.mcp.dependency import require
from moesaic.tools.shield import Shield
from moesaic.tools.tool import Tool
from moesaic.tools.tool_context import ToolContext
from moesaic.tools.tool_result import ToolResult

__all__ = ["RemoteTool", "remote_tools", "stdio_command"]

_UNFIT = re.compile(r"[^A-Za-z0-9_-]+")
_MOST_TOOLS = 128
_MOST_PAGES = 20
_MOST_SCHEMA_BYTES = 50_000
_MOST_DESCRIPTION = 1000
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list, tuple),
    "object": (dict,),
}


class RemoteTool(Tool[Mapping[str, Any]]):
    """One tool of an MCP server.

    Args:
        client: the SDK's connected `Client`.
        listed: the tool, as the server lists it.
        name: what it is called here.
        shield: what its descriptions pass.
    """

    def __init__(self, client: Any, listed: Any, *, name: str, shield: Shield) -> None:
        self._client = client
        self._remote_name = str(listed.name)
        self._loop = asyncio.get_running_loop()
        self._schema = _cleaned(listed.input_schema, shield)
        self.name = name
        self.description = shield.clean(listed.description or f"The tool {name}.").text[:_MOST_DESCRIPTION]

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of the arguments, as the server gives it, its words cleaned."""
        return self._schema

    def read(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The arguments, if their names and types are those of the schema."""
        properties = self._schema.get("properties", {})
        known = ", ".join(properties) or "none"
        for name, value in given.items():
            if name not in properties and self._schema.get("additionalProperties") in (None, False):
                raise ToolArgumentError(name, f"{self.name} has no such argument; its arguments: {known}")
            wanted = properties.get(name, {}).get("type") if isinstance(properties.get(name), dict) else None
            fits = _TYPES.get(wanted) if isinstance(wanted, str) else None
            if fits is not None and (not isinstance(value, fits) or (bool not in fits and isinstance(value, bool))):
                raise ToolArgumentError(name, f"{value!r:.80} is no {wanted}")
        for name in self._schema.get("required", ()):
            if name not in given:
                raise ToolArgumentError(str(name), f"{self.name} needs it, and it is missing")
        return dict(given)

    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolResult:
        """See `Tool.call`."""
        if asyncio.get_running_loop() is not self._loop:
            raise ToolError(f"{self.name} belongs to another event loop: use ainvoke or astream where it was opened")
        try:
            result = await self._client.call_tool(self._remote_name, dict(arguments))
        except require("mcp").MCPError as error:
            raise ToolError(f"the MCP server refused the call of {self.name}: {str(error)[:500]}") from error
        except require("anyio").ClosedResourceError as error:
            raise ToolError(f"the MCP server of {self.name} is gone; go on without it") from error
        text = "\n".join(_text(block) for block in result.content)
        if result.is_error:
            raise ToolError(text[:2000] or f"{self.name} failed without a word")
        structured = result.structured_content
        if not text and structured is not None:
            text = json.dumps(structured, ensure_ascii=False)
        return ToolResult(content=text, artifact={"structured": structured, "blocks": len(result.content)})


def stdio_command(program: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Any:
    """A server that is a program on this machine, spoken to over its standard input and output.

    It gets of this process's environment what the SDK deems safe (path, home, user, terminal), and `environment`.
    """
    parameters = require("mcp").StdioServerParameters
    return parameters(command=program, args=list(arguments), env=None if environment is None else dict(environment))


@asynccontextmanager
async def remote_tools(
    server: Any,
    *,
    prefix: str = "",
    only: Sequence[str] | None = None,
    shield: Shield | None = None,
    needs_approval: bool = False,
    executes_programs: bool = False,
    timeout_s: float = 60.0,
) -> AsyncGenerator[list[RemoteTool], None]:
    """The tools of a server, for the time of a block.

    Args:
        server: `stdio_command(…)`, or whatever else the SDK's `Client` connects to.
        prefix: before every name, so that tools of several servers do not meet.
        only: names of the tools to take, as the server calls them; None: all.
        shield: what its words pass.
        needs_approval: whether a person has to agree to each call.
        executes_programs: whether its tools run what they are given.
        timeout_s: longest time of one call in seconds.

    Raises:
        ToolError: the server does not start, or does not speak MCP.
        InputError: it has not the tools of `only`, or too many.
        MissingDependencyError: the SDK is not installed.
    """
    guard = shield or Shield(characters=20_000)
    mcp = require("mcp")
    client = mcp.Client(server, read_timeout_seconds=timeout_s)
    try:
        await client.__aenter__()
    except (mcp.MCPError, OSError, ValueError, TimeoutError, ExceptionGroup) as error:
        reason = str(_first(error))[:200]
        raise ToolError(f"the MCP server cannot be reached ({reason}): check its command") from error
    try:
        tools = []
        for listed in await _listed(client, only):
            tool = RemoteTool(client, listed, name=_local_name(prefix, str(listed.name)), shield=guard)
            tool.needs_approval, tool.executes_programs = needs_approval, executes_programs
            tool.timeout_s = timeout_s
            tools.append(tool)
        yield tools
    finally:
        await client.__aexit__(None, None, None)


async def _listed(client: Any, only: Sequence[str] | None) -> list[Any]:
    """What the server offers, page by page."""
    found: list[Any] = []
    cursor = None
    for _ in range(_MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        found += [tool for tool in page.tools if only is None or tool.name in only]
        cursor = page.next_cursor
        if cursor is None or len(found) > _MOST_TOOLS:
            break
    if len(found) > _MOST_TOOLS:
        raise InputError(f"the MCP server has more than {_MOST_TOOLS} tools: name the ones to take (only=…)")
    names = [tool.name for tool in found]
    if only is not None and (missing := sorted(set(only) - set(names))):
        known = ", ".join(map(str, names)) or "none of them"
        raise InputError(f"the MCP server has no tool {missing[0]!r:.80}; of these it has {known}")
    return found


def _first(error: Exception) -> Exception:
    """What a group of errors begins with: the SDK's tasks fail in groups of one."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _local_name(prefix: str, name: str) -> str:
    fit = _UNFIT.sub("_", f"{prefix}_{name}" if prefix else name).strip("_")[:64]
    if not fit:
        raise InputError(f"no letter is left of {name!r:.80}, the name of an MCP server's tool: leave it out (only=…)")
    return fit


def _cleaned(schema: Any, shield: Shield) -> dict[str, Any]:
    """A schema whose words cannot act; one that is too large, or no object's, stands for any arguments."""
    written = json.dumps(schema)
    if not isinstance(schema, dict) or schema.get("type") != "object" or len(written) > _MOST_SCHEMA_BYTES:
        return {"type": "object", "additionalProperties": True}
    cleaned: dict[str, Any] = _cleaned_value(schema, shield)
    return cleaned


def _cleaned_value(value: Any, shield: Shield) -> Any:
    if isinstance(value, str):
        return shield.clean(value).text[:_MOST_DESCRIPTION]
    if isinstance(value, list):
        return [_cleaned_value(part, shield) for part in value]
    if isinstance(value, dict):
        return {
            key: part if key in ("$ref", "pattern", "const", "enum", "type") else _cleaned_value(part, shield)
            for key, part in value.items()
        }
    return value


def _text(block: Any) -> str:
    """A block as text; what is none is named."""
    text = getattr(block, "text", None)
    if isinstance(text, str):
        return text
    resource = getattr(getattr(block, "resource", None), "text", None)
    return resource if isinstance(resource, str) else f"[{getattr(block, 'type', 'something')} left out: no text]"
