"""The part of validation that looks at constraints, before a compiler for grammars sees them.

What is malformed in a way that only the compiler knows is refused by the engine itself (`RequestError` too). Here it is
about what would cost everybody: xgrammar takes time that grows with the cube of a schema's depth, seconds at 256
levels, and a choice of thousands of texts fills its cache.
"""

import json
from typing import Any

from moesaic.errors import RequestError
from moesaic.server.engine.engine import EngineLimits
from moesaic.server.engine.request import Constraint, ConstraintKind

__all__ = ["MAX_SCHEMA_DEPTH", "check_constraint", "check_schema"]

MAX_SCHEMA_DEPTH = 64
"""Most levels of a JSON Schema: objects and lists inside each other."""

_FIELD = "constraint"


def check_constraint(constraint: Constraint, limits: EngineLimits) -> None:
    """Raise `RequestError` if `constraint` is malformed, or larger than the limits."""
    if not isinstance(constraint, Constraint) or not isinstance(constraint.kind, ConstraintKind):
        raise RequestError(_FIELD, f"{str(constraint)[:80]!r} is not a constraint")

    field = f"{_FIELD}.{constraint.kind.value}"
    if constraint.kind is ConstraintKind.CHOICE:
        _check_choices(field, constraint.value, limits)
        return

    if not isinstance(constraint.value, str):
        raise RequestError(field, f"{str(constraint.value)[:80]!r} is not a text")

    _check_text(field, constraint.value, limits)
    if constraint.kind is ConstraintKind.JSON_OBJECT:
        return

    if not constraint.value.strip():
        raise RequestError(field, "is empty; leave the constraint out to allow any answer")

    if constraint.kind is ConstraintKind.JSON_SCHEMA:
        check_schema(field, constraint.value)


def check_schema(field: str, text: str) -> None:
    """Raise `RequestError` unless `text` is a JSON Schema of bearable depth."""
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(field, f"is not JSON ({str(error)[:120]}): give a JSON Schema as JSON text") from error

    if not isinstance(schema, dict | bool):
        raise RequestError(field, f"{text[:80]!r} is not a JSON Schema: an object such as {{'type': 'object'}}")

    depth = _depth(schema)
    if depth > MAX_SCHEMA_DEPTH:
        raise RequestError(field, f"is nested {depth} levels deep; at most {MAX_SCHEMA_DEPTH}: define parts in $defs")


def _check_choices(field: str, choices: object, limits: EngineLimits) -> None:
    if not isinstance(choices, tuple) or not 1 <= len(choices) <= limits.max_choices:
        shown = f"{len(choices)} texts" if isinstance(choices, tuple) else repr(choices)[:80]
        raise RequestError(field, f"{shown}; give 1 to {limits.max_choices} texts")

    for position, text in enumerate(choices):
        if not isinstance(text, str) or not text:
            raise RequestError(field, f"{text!r} at position {position} is not a text of at least one character")

    _check_text(field, "".join(choices), limits)


def _check_text(field: str, text: str, limits: EngineLimits) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise RequestError(field, f"{text[:40]!r} is not text in UTF-8 ({error.reason})") from error

    if size > limits.max_constraint_bytes:
        raise RequestError(field, f"has {size} bytes; at most {limits.max_constraint_bytes}: make it simpler")

    if "\0" in text:
        raise RequestError(field, "contains the character U+0000, which grammars cannot express; leave it out")


def _depth(value: Any) -> int:
    """Levels of objects and lists inside each other; without recursion, since the value may be hostile."""
    deepest, open_values = 0, [(value, 1)]
    while open_values:
        current, depth = open_values.pop()
        deepest = max(deepest, depth)
        parts = current.values() if isinstance(current, dict) else current if isinstance(current, list) else ()
        open_values.extend((part, depth + 1) for part in parts if isinstance(part, dict | list))
    return deepest
