"""How a program's run came out."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from moesaic.tools.sandbox.config import Tier

__all__ = ["Execution", "ExecutionStatus", "ProgramError", "Usage"]


class ExecutionStatus(StrEnum):
    """Why a run ended. Only `ok`, `error`, `memory` and `result_limit` may rest on what the program's side says."""

    OK = "ok"
    """The program came to its end and has a value (None too is one)."""
    ERROR = "error"
    """It raised an exception, or its text is no Python."""
    TIMEOUT = "timeout"
    """It ran longer than it may, by the clock or by processor time."""
    MEMORY = "memory"
    """It wanted more memory than it may have, or the machine ran out of it."""
    OUTPUT_LIMIT = "output_limit"
    """It wrote more than it may; the beginning is kept."""
    RESULT_LIMIT = "result_limit"
    """Its value is larger than may be returned."""
    FORBIDDEN = "forbidden"
    """It made a system call that no honest program makes, and was ended by the kernel."""
    CRASHED = "crashed"
    """Its process died of a fault, or together with the sandbox's own process."""
    NO_RESULT = "no_result"
    """Its process ended, or sent something, that is no well-formed result."""
    CANCELLED = "cancelled"
    """The caller gave it up."""


@dataclass(frozen=True, kw_only=True)
class ProgramError:
    """What a program raised, or why it has no result. All of it is text that a program may have chosen."""

    type: str
    """Name of the exception, or the status where there was none."""
    message: str
    """Its text, with a hint if it met a wall."""
    traceback: str = ""
    """As Python shows it, the sandbox's own frames left out; empty where there was no exception."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a run took, observed from outside of the process; a program cannot touch these numbers."""

    wall_s: float
    """From sending the program until its outcome was there, or until it was ended."""
    cpu_s: float
    """Processor time; of a batch the part of this program."""
    max_rss_bytes: int
    """Largest resident memory, what is shared with the interpreter's zygote included; 0 where it could not be read."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Everything known about one run of a program.

    `value`, `stdout`, `stderr` and `error` come from the program and are to be trusted as much as the program is.
    """

    status: ExecutionStatus
    """Why it ended."""
    value: Any
    """The program's value, made of None, bool, int, float, str, list and dict; None unless `status` is ok."""
    stdout: str
    """What it printed, bytes that are no UTF-8 replaced."""
    stderr: str
    """What it wrote on standard error."""
    error: ProgramError | None
    """Why there is no value; None if `status` is ok."""
    usage: Usage
    """What it took."""
    tier: Tier
    """The walls it ran behind."""

    @property
    def ok(self) -> bool:
        """Whether there is a value."""
        return self.status is ExecutionStatus.OK

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return asdict(self)
