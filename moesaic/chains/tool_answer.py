"""What comes out of a loop of model and tools: parts as they arise, and at last the whole answer."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from moesaic.tools.shield import Finding
from moesaic.tools.tool_call import ToolCall, ToolOutcome
from moesaic.tools.tool_result import ToolCitation

__all__ = ["Ending", "ToolAnswer", "ToolPart"]


class Ending(StrEnum):
    """Why a loop ended."""

    ANSWERED = "answered"
    """The model came to its end."""
    LENGTH = "length"
    """The answer was cut off: it reached the most tokens of a turn."""
    STEPS = "steps"
    """The turns were spent while the model still wanted to call."""
    UNFINISHED_CALL = "unfinished_call"
    """The model stopped in the middle of a token-activated query."""


@dataclass(frozen=True, kw_only=True)
class ToolAnswer:
    """The answer to one question."""

    text: str
    """What the model says: of function calling the last turn, of token-activated calls all it wrote but the calls."""
    ending: Ending
    steps: int
    """Turns of the model."""
    outcomes: tuple[ToolOutcome, ...] = ()
    """Every call, in the order in which they were asked for."""
    findings: tuple[Finding, ...] = ()
    """What the shield found in the question and in results."""
    input_tokens: int = 0
    output_tokens: int = 0
    """Tokens read and written over all turns."""
    model: str = ""
    weight_version: str = ""
    """What answered."""

    @property
    def citations(self) -> tuple[ToolCitation, ...]:
        """Where the results of all calls come from."""
        return tuple(
            citation for outcome in self.outcomes if outcome.result is not None for citation in outcome.result.citations
        )

    def to_json(self) -> dict[str, Any]:
        """The answer as plain JSON values."""
        return {
            "text": self.text,
            "ending": str(self.ending),
            "steps": self.steps,
            "outcomes": [outcome.to_json() for outcome in self.outcomes],
            "findings": [finding.to_json() for finding in self.findings],
            "citations": [citation.to_json() for citation in self.citations],
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "model": self.model,
            "weight_version": self.weight_version,
        }


@dataclass(frozen=True, kw_only=True)
class ToolPart:
    """One event of a stream; exactly one of `text`, `call`, `outcome` and `answer` is set."""

    step: int
    """Turn of the model, from 1."""
    text: str = ""
    """New text of the model."""
    call: ToolCall | None = None
    """A call that begins."""
    outcome: ToolOutcome | None = None
    """What came of a call."""
    answer: ToolAnswer | None = None
    """The whole answer, in the last event."""
