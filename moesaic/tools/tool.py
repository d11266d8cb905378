"""`Tool`: what a model may call. Its arguments are a pydantic model, its result is text with an artifact and citations.

    class Shout(Tool["ShoutArguments"]):
        name = "shout"
        description = "Write a text in capitals."
        arguments = ShoutArguments          # class ShoutArguments(ToolArguments): text: str = Field(max_length=100)

        async def call(self, arguments, context):
            return ToolResult(content=arguments.text.upper(), artifact={"text": arguments.text.upper()})

- A tool never drives a model, and never calls another tool: loops live in `moesaic.chains`.
- It knows nothing of allow-lists, approval, audits and time limits: whatever calls a tool does so through a `Toolbox`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from moesaic.errors import EngineOverloadedError, KnowledgeBaseBusyError, ToolArgumentError, UnavailableError
from moesaic.tools.tool_context import ToolContext
from moesaic.tools.tool_result import ToolResult

__all__ = ["Language", "Tool", "ToolArguments"]

A = TypeVar("A")

Language = Literal["en", "zh"]


class ToolArguments(BaseModel):
    """Base of all argument models: fields that they do not have are refused, and so are NaN and infinities."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Tool(ABC, Generic[A]):
    """One thing that a model may ask for."""

    name: str
    """1 to 64 letters, digits, underscores and hyphens."""
    description: str
    """What it does and when to call it, told to the model."""
    description_zh: str = ""
    """The same in Chinese."""
    arguments: type[Any] = ToolArguments
    """Pydantic model of its arguments."""
    text_argument: str = ""
    """The argument that takes the text of a token-activated call; empty: it cannot be called that way."""
    timeout_s: float | None = None
    """Longest time of one call in seconds; None: the toolbox's."""
    idempotent: bool = False
    """Whether calling it twice does no more than calling it once: only then is a failed call tried again."""
    transient: tuple[type[Exception], ...] = (
        ConnectionError,
        EngineOverloadedError,
        KnowledgeBaseBusyError,
        TimeoutError,
        UnavailableError,
    )
    """Failures after which the same call may succeed."""
    executes_programs: bool = False
    """Whether it runs what the model wrote: refused to callers that are neither local nor authenticated."""
    needs_approval: bool = False
    """Whether a person has to agree to each call."""
    gives_foreign_text: bool = True
    """Whether its results hold text that somebody else wrote; it is then marked as data before a model reads it."""

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of the arguments."""
        schema: dict[str, Any] = self.arguments.model_json_schema()
        return schema

    def described(self, language: Language = "en") -> str:
        """The description in a language; English where there is no other."""
        return (self.description_zh or self.description) if language == "zh" else self.description

    def read(self, given: Mapping[str, Any]) -> A:
        """The arguments, checked.

        Raises:
            ToolArgumentError: one of them is missing, unknown or out of its range.
        """
        try:
            arguments: A = self.arguments.model_validate(dict(given))
        except ValidationError as error:
            raise self._refused(error) from error
        return arguments

    @abstractmethod
    async def call(self, arguments: A, context: ToolContext) -> ToolResult:
        """Do it.

        Raises:
            ToolArgumentError: the arguments make no sense together.
            ToolError: it cannot be done; the message is told to the model.
        """

    def _refused(self, error: ValidationError) -> ToolArgumentError:
        """The first complaint, with the value and what is allowed, and how many there are."""
        found = error.errors(include_url=False, include_context=False)
        first = found[0]
        field = ".".join(str(part) for part in first["loc"])
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        if first["type"] == "extra_forbidden":
            known = ", ".join(self.arguments.model_fields) or "none"
            return ToolArgumentError(field, f"{self.name} has no such argument; its arguments: {known}{more}")
        if first["type"] == "missing":
            return ToolArgumentError(field, f"{self.name} needs it, and it is missing{more}")
        return ToolArgumentError(field, f"{first['input']!r:.80} is refused: {first['msg']}{more}")
