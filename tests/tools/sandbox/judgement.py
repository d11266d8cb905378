"""What a run must look like from outside: the judge of every hostile program.

It takes the outcome as the caller of the sandbox sees it, and never believes the program about anything but its answer.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from moesaic.tools.sandbox import Execution, Tier
from tests.tools.sandbox.hostile_program import USUAL_TIMEOUT_S, HostileProgram

__all__ = ["ERROR_CHARACTERS", "Ruling", "breaches_of", "flaws_of_refusal"]

ERROR_CHARACTERS = 70_000
"""Longest description of an error: about as much as a result may have."""

_GRACE_S = 60.0
_DEPTH = 200


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """What the judge must know of a run besides its outcome."""

    tier: Tier
    secret: str
    host_name: str
    output_bytes: int
    result_bytes: int
    seconds: float
    """How long the caller waited."""


def breaches_of(program: HostileProgram, execution: Execution, ruling: Ruling) -> list[str]:
    """Everything that is wrong with a run; nothing if it was contained."""
    return [
        *_unexpected(program, execution, ruling),
        *_leaked(program, execution, ruling),
        *_malformed(execution, ruling),
    ]


def flaws_of_refusal(program: HostileProgram, tier: Tier) -> list[str]:
    """What is wrong with a refusal to run the program at all."""
    return [] if "refused" in program.statuses(tier.value) else ["it was refused as no program"]


def _unexpected(program: HostileProgram, execution: Execution, ruling: Ruling) -> Iterator[str]:
    tier = ruling.tier.value
    status = execution.status.value
    if status not in program.statuses(tier):
        allowed = " or ".join(sorted(program.statuses(tier)))
        yield f"it ended as {status} ({str(execution.error)[:300]!r}), not as {allowed}"
    elif status == "ok" and not program.admits(execution.value, tier):
        yield f"it answered {str(execution.value)[:2000]!r}"
    if ruling.seconds > (program.limit("Timeout", tier) or USUAL_TIMEOUT_S) + _GRACE_S:
        yield f"it took {ruling.seconds:.1f} s"
    if execution.tier is not ruling.tier:
        yield f"it ran in the tier {execution.tier}"


def _leaked(program: HostileProgram, execution: Execution, ruling: Ruling) -> Iterator[str]:
    told = _told(execution)
    # Text of another encoding may hide it; half of the secret is a secret too.
    half = ruling.secret[len(ruling.secret) // 2 :]
    if half in told or half[::-1] in told:
        yield "it told the secret"
    if ruling.host_name in told and "no-host-name" in program.musts:
        yield "it told the machine's name"


def _told(execution: Execution) -> str:
    return "\n".join(
        [_text(execution.value), execution.stdout, execution.stderr, str(execution.error), repr(execution.error)]
    )


def _text(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return ""


def _malformed(execution: Execution, ruling: Ruling) -> Iterator[str]:
    if not _plain(execution.value):
        yield f"its value holds what is no JSON: {type(execution.value).__name__}"
    elif len(_text(execution.value).encode("utf-8", "replace")) > ruling.result_bytes + 1024:
        yield "its value is larger than a result may be"
    for name, text in (("stdout", execution.stdout), ("stderr", execution.stderr), ("error", str(execution.error))):
        if not _encodable(text):
            yield f"its {name} holds halves of characters"
    written = len(execution.stdout.encode("utf-8", "replace")) + len(execution.stderr.encode("utf-8", "replace"))
    if written > 3 * ruling.output_bytes + 1024:  # a byte that is no text becomes a sign of three bytes
        yield f"its output has {written} bytes"
    if len(str(execution.error)) > ERROR_CHARACTERS:
        yield f"its error has {len(str(execution.error))} characters"
    usage = execution.usage
    for name in ("wall_s", "cpu_s", "max_rss_bytes"):
        figure = getattr(usage, name)
        if figure is not None and not (math.isfinite(figure) and 0 <= figure < 1e15):
            yield f"{name} is {figure}"


def _plain(value: Any, depth: int = 0) -> bool:
    """Whether a value consists of exactly JSON's types: no subclass, no NaN, no half of a character, no abyss."""
    if depth > _DEPTH:
        return False
    if value is None or type(value) in (bool, int):
        return True
    if type(value) is float:
        return math.isfinite(value)
    if type(value) is str:
        return _encodable(value)
    if type(value) is list:
        return all(_plain(item, depth + 1) for item in value)
    if type(value) is dict:
        return all(type(key) is str and _encodable(key) and _plain(item, depth + 1) for key, item in value.items())
    return False


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
