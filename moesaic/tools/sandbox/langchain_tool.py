"""The sandbox as a LangChain tool: a model writes a program, and reads what came of it.

The text that the model gets is short and says what to do next; the whole `Execution` is the tool message's artifact.
LangChain is imported here alone.
"""

import json
from typing import Annotated, Any

from langchain_core.callbacks import AsyncCallbackManagerForToolRun, CallbackManagerForToolRun
from langchain_core.tools import BaseTool
from langchain_core.tools.base import ArgsSchema
from pydantic import BaseModel, ConfigDict, Field, SkipValidation

from moesaic.tools.sandbox.execution import Execution
from moesaic.tools.sandbox.sandbox import Sandbox

__all__ = ["PythonProgramArguments", "PythonSandboxTool"]

_SHOWN_CHARACTERS = 4000


class PythonProgramArguments(BaseModel):
    """What a model passes to the tool."""

    model_config = ConfigDict(extra="forbid")

    program: str = Field(
        description="Python text. Define `solution()` and return the value that you want to know, or print it. The "
        "standard library, numpy, sympy and dateutil are there; network, other programs and files are not."
    )


class PythonSandboxTool(BaseTool):
    """Runs programs in a sandbox.

    Args:
        sandbox: where they run; a new one with default limits if none is given, started with the first program.
    """

    name: str = "python"
    description: str = (
        "Run a Python program that computes something, in a sandbox. Use it for arithmetic, dates, statistics, algebra "
        "and whatever needs exact steps. Each call starts afresh: nothing of an earlier program is left."
    )
    args_schema: Annotated[ArgsSchema | None, SkipValidation()] = PythonProgramArguments
    response_format: Any = "content_and_artifact"
    sandbox: Annotated[Sandbox, SkipValidation()] = Field(default_factory=Sandbox, exclude=True)

    def _run(self, program: str, run_manager: CallbackManagerForToolRun | None = None) -> tuple[str, dict[str, Any]]:
        return _told(self.sandbox.run(program))

    async def _arun(
        self, program: str, run_manager: AsyncCallbackManagerForToolRun | None = None
    ) -> tuple[str, dict[str, Any]]:
        return _told(await self.sandbox.arun(program))


def _told(execution: Execution) -> tuple[str, dict[str, Any]]:
    """What the model reads, and everything."""
    parts = []
    if execution.ok:
        parts.append(f"value: {json.dumps(execution.value, ensure_ascii=False)}")
    elif execution.error is not None:
        parts.append(f"{execution.status}: {execution.error.traceback or execution.error.message}")
        if execution.error.message not in parts[0]:
            parts.append(execution.error.message)
    if execution.stdout:
        parts.append(f"printed:\n{execution.stdout}")
    if execution.stderr:
        parts.append(f"on standard error:\n{execution.stderr}")
    return "\n".join(_shortened(part.rstrip()) for part in parts), execution.to_json()


def _shortened(text: str) -> str:
    if len(text) <= _SHOWN_CHARACTERS:
        return text
    return f"{text[:_SHOWN_CHARACTERS]}\n({len(text) - _SHOWN_CHARACTERS} more characters are left out)"
