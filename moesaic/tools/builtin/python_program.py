"""`PythonProgram`: runs a program that the model wrote, behind the sandbox's walls; never in this process."""

from typing import Any, Protocol

from pydantic import Field

from moesaic.tools.tool import Tool, ToolArguments
from moesaic.tools.tool_context import ToolContext
from moesaic.tools.tool_result import ToolResult

__all__ = ["ProgramRunner", "PythonArguments", "PythonProgram"]

_SHOWN = 4000


class ProgramRunner(Protocol):
    """What runs programs: `moesaic.tools.sandbox.Sandbox`, or a double of it."""

    async def arun(self, program: str, *, timeout_s: float | None = None) -> Any:
        """Run a program; gives an `Execution`."""
        ...


class PythonArguments(ToolArguments):
    """The program."""

    program: str = Field(
        min_length=1,
        max_length=20_000,
        description="Python. Its value: what solution() returns, or the variable answer, or its last expression",
    )


class PythonProgram(Tool[PythonArguments]):
    """Runs Python.

    Args:
        runner: the sandbox; whoever opened it closes it.
        timeout_s: longest time of a program in seconds.
    """

    name = "python"
    description = (
        "Run a Python program in a sandbox without network and files, and get its value and what it prints. "
        "For computations, simulations and data."
    )
    description_zh = "在没有网络和文件的沙箱中运行一段 Python 程序，得到它的值和输出。用于计算、模拟和处理数据。"
    arguments = PythonArguments
    text_argument = "program"
    executes_programs = True

    def __init__(self, runner: ProgramRunner, *, timeout_s: float = 10.0) -> None:
        self._runner = runner
        self._program_timeout_s = timeout_s
        self.timeout_s = timeout_s + 5.0  # what the sandbox itself takes

    async def call(self, arguments: PythonArguments, context: ToolContext) -> ToolResult:
        """See `Tool.call`. A program that fails is a result: the model is told how, and can mend it."""
        limit_s = context.remaining_s(self._program_timeout_s)
        ended = await self._runner.arun(arguments.program, timeout_s=limit_s)
        parts = []
        if ended.ok:
            parts.append(f"value: {ended.value!r}")
        else:
            parts.append(f"{ended.status}: {ended.error.type}: {ended.error.message}" if ended.error else ended.status)
        for name, text in (("stdout", ended.stdout), ("stderr", ended.stderr)):
            if text:
                cut = f"\n[cut here: {_SHOWN} of {len(text)} characters]" if len(text) > _SHOWN else ""
                parts.append(f"{name}:\n{text[:_SHOWN]}{cut}")
        return ToolResult(
            content="\n".join(parts),
            artifact={
                "status": str(ended.status),
                "value": ended.value,
                "stdout": ended.stdout,
                "stderr": ended.stderr,
                "error": None if ended.error is None else f"{ended.error.type}: {ended.error.message}",
            },
        )
