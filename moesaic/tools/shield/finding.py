"""What the shield found in a text."""

from enum import StrEnum
from typing import Any, NamedTuple

__all__ = ["Finding", "FindingKind"]


class FindingKind(StrEnum):
    """Why something was changed, or reported."""

    CONTROL_TOKEN = "control_token"
    """Written as a control token of a chat template; its name is left, in other brackets."""
    CALL_MARKER = "call_marker"
    """Would open a token-activated call; its brackets were replaced."""
    CALL_OBJECT = "call_object"
    """JSON in the form of a tool call; its first key was unquoted."""
    DELIMITER = "delimiter"
    """Written as the marks around foreign text; its brackets were replaced."""
    INVISIBLE = "invisible"
    """Characters that nobody sees: removed."""
    DIRECTION = "direction"
    """Characters that turn the direction of reading: removed."""
    CONTROL_CHARACTER = "control_character"
    """Characters that steer terminals, or are no characters: removed."""
    ROLE_HEADING = "role_heading"
    """A line that begins as a turn of a conversation. Left as it is: honest text has such lines too."""
    CUT = "cut"
    """The text was longer than it may be; the rest was left out."""


class Finding(NamedTuple):
    """One finding."""

    kind: FindingKind
    start: int
    end: int
    """Where it stood, in the text as it was given."""
    text: str
    """What stood there, escaped, its beginning."""

    def to_json(self) -> dict[str, Any]:
        """The finding as plain JSON values."""
        return {"kind": str(self.kind), "start": self.start, "end": self.end, "text": self.text}
