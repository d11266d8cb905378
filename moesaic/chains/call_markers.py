"""What opens, closes and answers a token-activated call in running text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from moesaic.errors import InputError
from moesaic.tools.tool import Language, Tool

__all__ = ["CallMarkers"]

_INSTRUCTIONS = {
    "en": (
        "While you write you can ask a tool: write {example}, and what it says follows at once. Ask where you need it, "
        "go on in the same sentence, and use what it says. The tools:\n{tools}"
    ),
    "zh": (
        "写作时可以询问工具：写出{example}，结果会紧接着出现。在需要的地方询问，然后接着写同一句话并使用结果。工具有：\n{tools}"
    ),
}


@dataclass(frozen=True, kw_only=True)
class CallMarkers:
    """By default `[[name: query]] => result`.

    What a model was tuned to write can take its place, as long as it is text: special tokens of a vocabulary are left
    out of what servers give, and so cannot be seen.

    Raises:
        InputError: a marker is too short, too long, a plain word, or is the same as another.
    """

    begin: str = "[["
    """Opens a call; the tool's name follows."""
    separator: str = ":"
    """Between name and query."""
    end: str = "]]"
    """Closes the query."""
    answer: str = " => "
    """Before the result."""

    def __post_init__(self) -> None:
        """Check once."""
        for name in ("begin", "end"):
            value = getattr(self, name)
            if not 2 <= len(value) <= 40 or value.strip() != value or value.replace("_", "").isalnum():
                raise InputError(f"{name}={value!r:.60} must have 2 to 40 characters, and be no plain word")
        if not 1 <= len(self.separator) <= 10 or self.separator[0].isalnum():
            raise InputError(f"separator={self.separator!r:.60} must have 1 to 10 characters and begin with no letter")
        if self.begin == self.end:
            raise InputError(f"begin and end are both {self.begin!r}; they must differ")

    def opening(self, name: str) -> str:
        """What opens a call of a tool."""
        return f"{self.begin}{name}{self.separator}"

    def result(self, text: str) -> str:
        """A result as it follows the call, and what lets the sentence go on."""
        return f"{self.answer}{text}{chr(10) if chr(10) in text else ''}"

    def instruction(self, tools: Sequence[Tool[Any]], language: Language) -> str:
        """What the model has to be told."""
        listed = "\n".join(
            f"- {self.opening(tool.name)} …{self.end} {' '.join(tool.described(language).split())}" for tool in tools
        )
        example = f"{self.opening(tools[0].name)} …{self.end}"
        return _INSTRUCTIONS[language].format(example=example, tools=listed)
