"""Tools for tests of what surrounds tools: they say what they are told to, fail when they are told to, and count."""

import asyncio
from collections.abc import Callable
from typing import Any

from pydantic import Field

from moesaic.tools import Tool, ToolArguments, ToolContext, ToolResult

__all__ = ["EchoArguments", "EchoTool"]


class EchoArguments(ToolArguments):
    """A text, and how often."""

    text: str = Field(min_length=1, max_length=50)
    times: int = Field(default=1, ge=1, le=3)


class EchoTool(Tool[EchoArguments]):
    """Repeats a text.

    Args:
        fails: raised by the first calls, one each.
        delay_s: time that each call takes.
        options: attributes of the tool that differ.
    """

    name = "echo"
    description = "Repeat a text."
    description_zh = "重复一段文字。"
    arguments = EchoArguments
    text_argument = "text"

    def __init__(
        self,
        *,
        fails: tuple[Exception, ...] = (),
        delay_s: float = 0.0,
        answer: Callable[[EchoArguments], Any] | None = None,
        **options: Any,
    ) -> None:
        self.calls: list[EchoArguments] = []
        self.contexts: list[ToolContext] = []
        self.ended = 0
        self._fails = list(fails)
        self._delay_s = delay_s
        self._answer = answer
        for name, value in options.items():
            assert hasattr(type(self), name), name
            setattr(self, name, value)

    async def call(self, arguments: EchoArguments, context: ToolContext) -> ToolResult:
        self.calls.append(arguments)
        self.contexts.append(context)
        await asyncio.sleep(self._delay_s)
        self.ended += 1
        if self._fails:
            raise self._fails.pop(0)
        text = " ".join([arguments.text] * arguments.times)
        artifact = {"text": text} if self._answer is None else self._answer(arguments)
        return ToolResult(content=text, artifact=artifact)
