"""What a child sends back, taken apart as the hostile bytes that it may be.

A frame is four bytes of length and one JSON object. It is limited in size and depth, and only known keys of known types
are taken; nothing is evaluated, and no class is made from it. A frame that is anything else counts as no result.
"""

import json
import math
from typing import Any, NamedTuple, NoReturn

from moesaic.tools.sandbox.execution import ExecutionStatus, ProgramError

__all__ = ["LENGTH_BYTES", "MalformedFrame", "Result", "parse_frame"]

LENGTH_BYTES = 4
"""Bytes of a frame's length, the most significant first."""

_MAX_DEPTH = 40
_EMPTY = b'{"outcome": "ok", "value": }'
_CLAIMS = {
    "memory": (ExecutionStatus.MEMORY, "the program wanted more memory than it may have"),
    "result_limit": (ExecutionStatus.RESULT_LIMIT, "the program's value is larger than may be returned"),
}


class Result(NamedTuple):
    """What a frame claims."""

    status: ExecutionStatus
    value: Any
    error: ProgramError | None


class MalformedFrame(NamedTuple):
    """Why bytes are no frame."""

    reason: str


def parse_frame(body: bytes, *, most_bytes: int) -> Result | MalformedFrame:
    """What the bytes claim, or why they cannot be a frame; never an exception, whatever the bytes are.

    A value of more than `most_bytes`, as JSON in UTF-8, is not taken.
    """
    try:
        frame = _plain(_JSON.decode(body.decode("utf-8")), _MAX_DEPTH)
    except (ValueError, RecursionError, MemoryError) as error:
        return MalformedFrame(f"the result is no JSON that can be taken: {type(error).__name__}")
    if not isinstance(frame, dict):
        return MalformedFrame("the result is no JSON object")

    match frame:
        case {"outcome": "ok", "value": _} if len(frame) == 2 and len(body) > len(_EMPTY) + most_bytes:
            return _claimed("result_limit")
        case {"outcome": "ok", "value": value} if len(frame) == 2:
            return Result(ExecutionStatus.OK, value, None)
        case {"outcome": "error", "error": {"type": str(type_), "message": str(message), "traceback": str(trace)}}:
            return Result(ExecutionStatus.ERROR, None, ProgramError(type=type_, message=message, traceback=trace))
        case {"outcome": str(claim)} if len(frame) == 1 and claim in _CLAIMS:
            return _claimed(claim)
    return MalformedFrame("the result has not the form that the sandbox writes")


def _claimed(claim: str) -> Result:
    status, words = _CLAIMS[claim]
    return Result(status, None, ProgramError(type=status.value, message=words))


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


_JSON = json.JSONDecoder(parse_constant=_refuse)


def _plain(value: Any, depth: int) -> Any:
    """The same with half surrogate pairs replaced, which JSON can spell and UTF-8 cannot.

    Raises:
        RecursionError: it is nested too deeply.
        ValueError: a number is spelt that floats cannot hold.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list | dict) and depth == 0:
        raise RecursionError
    if isinstance(value, list):
        return [_plain(item, depth - 1) for item in value]
    if isinstance(value, dict):
        return {_plain(key, depth): _plain(item, depth - 1) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is too large")
    return value
