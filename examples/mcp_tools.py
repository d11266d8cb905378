"""Lend a model the tools of an MCP server: python examples/mcp_tools.py QUESTION TARGET PROGRAM [ARGUMENT ...]."""

import asyncio
import sys

from moesaic.chains import ChatMoesaic, ToolCallingChain
from moesaic.tools import Toolbox, ToolContext
from moesaic.tools.mcp import remote_tools, stdio_command


async def main(question: str, target: str, program: str, *arguments: str) -> None:
    """Start the server (such as: moesaic mcp serve), let the model call its tools, and print what happens."""
    async with remote_tools(stdio_command(program, *arguments)) as tools:
        chain = ToolCallingChain(
            model=ChatMoesaic(target=target, temperature=0), toolbox=Toolbox(tools), context=ToolContext.here()
        )
        async for part in chain.astream(question):
            print(part.text, end="", flush=True)
            if part.call is not None:
                print(f"[{part.call.name} {dict(part.call.arguments)}]")
            if part.outcome is not None:
                print(f"[=> {part.outcome.content}]")
    print()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
