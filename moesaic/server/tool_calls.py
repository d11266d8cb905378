"""Tools in a conversation: how they are offered to the model, how its calls are kept in form, and how they are read.

A call that the model may make is written as Qwen and Hermes models were taught to:

    <tool_call>
    {"name": "search", "arguments": {"query": "…"}}
    </tool_call>

The engine lets text be free until the first tag, and then only what the tool's schema allows. A call that it must
make is the bare object, kept in form from its first token. So reading a call cannot fail on an engine with constraints;
where the engine has none, a passage that is no call stays text.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from moesaic.errors import RequestError
from moesaic.server.engine import Constraint, ConstraintKind
from moesaic.server.engine.constraint_rules import check_schema

__all__ = ["ToolCall", "ToolCallReader", "ToolSpecification", "constraint_for", "offer"]

BEGIN = "<tool_call>"
END = "</tool_call>"

_ESCAPED = re.compile(r"\\.", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NAMED_SCHEMAS = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
"""Keywords whose keys are names, not keywords."""

_DATA = frozenset({"const", "default", "enum", "examples"})
"""Keywords whose values are no schemas."""

_ANY_ARGUMENTS = {"type": "object", "properties": {}, "additionalProperties": False}


@dataclass(frozen=True, kw_only=True)
class ToolSpecification:
    """A tool that may be called."""

    name: str
    description: str
    schema: dict[str, Any]
    """JSON Schema of its arguments."""

    @classmethod
    def checked(cls, field: str, name: str, description: str, schema: str) -> "ToolSpecification":
        """Raise `RequestError` for a name or a schema that no engine could keep."""
        if not _NAME.fullmatch(name):
            raise RequestError(
                f"{field}.name", f"{name[:80]!r} is not 1 to 64 letters, digits, underscores and hyphens"
            )
        if not schema.strip():
            return cls(name=name, description=description, schema=_ANY_ARGUMENTS)

        place = f"{field}.parameters_json_schema"
        check_schema(place, schema)
        parsed = json.loads(schema)
        if not isinstance(parsed, dict) or parsed.get("type", "object") != "object":
            raise RequestError(place, "does not describe an object; arguments are a JSON object")
        return cls(name=name, description=description, schema={"type": "object"} | parsed)

    def to_template(self) -> dict[str, Any]:
        """The tool as chat templates expect it."""
        function = {"name": self.name, "description": self.description, "parameters": self.schema}
        return {"type": "function", "function": function}


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """A call that the model makes."""

    name: str
    arguments: str
    """A JSON object."""


def offer(tools: Sequence[ToolSpecification], *, required: bool) -> str:
    """Instructions for a model whose chat template does not know tools."""
    listed = "\n".join(json.dumps(tool.to_template()["function"], ensure_ascii=False) for tool in tools)
    if required:
        form = 'Answer with one call as JSON: {"name": "…", "arguments": {…}}'
    else:
        form = f'To call one, write:\n{BEGIN}\n{{"name": "…", "arguments": {{…}}}}\n{END}'
    return f"You can call these tools:\n{listed}\n{form}"


def constraint_for(tools: Sequence[ToolSpecification], *, required: bool) -> Constraint:
    """The constraint that keeps calls in form."""
    if required:
        return Constraint(kind=ConstraintKind.JSON_SCHEMA, value=json.dumps(_call_schema(tools), ensure_ascii=False))

    tags = [
        {
            "begin": f'{BEGIN}\n{{"name": {json.dumps(tool.name)}, "arguments": ',
            # Whitespace without end is valid JSON, and what small models write when they do not know better.
            "content": {"type": "json_schema", "json_schema": tool.schema, "max_whitespace_cnt": 1},
            "end": f"}}\n{END}",
        }
        for tool in tools
    ]
    form = {"type": "triggered_tags", "triggers": [BEGIN], "tags": tags}
    value = json.dumps({"type": "structural_tag", "format": form}, ensure_ascii=False)
    return Constraint(kind=ConstraintKind.STRUCTURAL_TAG, value=value)


def _call_schema(tools: Sequence[ToolSpecification]) -> dict[str, Any]:
    """One object for a call of any of the tools; what their schemas define moves to the root, where references look."""
    definitions: dict[str, Any] = {}
    calls = []
    for index, tool in enumerate(tools):
        root = f"tool{index}"
        definitions[root] = _moved(tool.schema, f"#/$defs/{root}")
        calls.append(
            {
                "type": "object",
                "properties": {"name": {"const": tool.name}, "arguments": {"$ref": f"#/$defs/{root}"}},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
        )
    return {**(calls[0] if len(calls) == 1 else {"anyOf": calls}), "$defs": definitions}


def _moved(value: Any, root: str) -> Any:
    """A schema whose references into itself still hold when it stands at `root`."""
    if isinstance(value, list):
        return [_moved(part, root) for part in value]
    if not isinstance(value, dict):
        return value

    moved = {
        key: {name: _moved(each, root) for name, each in part.items()}
        if key in _NAMED_SCHEMAS and isinstance(part, dict)
        else part
        if key in _DATA
        else _moved(part, root)
        for key, part in value.items()
    }
    reference = value.get("$ref")
    if isinstance(reference, str) and (reference == "#" or reference.startswith("#/")):
        moved["$ref"] = root + reference[1:]
    return moved


class ToolCallReader:
    """Reads text as it comes; gives text to show, and calls once they are complete.

    Args:
        required: whether the whole answer is one call.
    """

    def __init__(self, *, required: bool = False) -> None:
        self._required = required
        self._inside = required
        self._pending = ""

    def push(self, text: str) -> Iterator[str | ToolCall]:
        """Give what `text` completes, in order."""
        self._pending += text
        while not self._required:
            mark = END if self._inside else BEGIN
            place = _end_of_call(self._pending) if self._inside else self._pending.find(mark)
            if place < 0:
                break

            before, self._pending = self._pending[:place], self._pending[place + len(mark) :]
            if self._inside:
                yield _read(before) or f"{BEGIN}{before}{END}"
            elif before:
                yield before
            self._inside = not self._inside
        if not self._inside:
            held = _beginning_of(BEGIN, self._pending)
            shown, self._pending = (
                self._pending[: len(self._pending) - held],
                self._pending[len(self._pending) - held :],
            )
            if shown:
                yield shown

    def close(self) -> Iterator[str | ToolCall]:
        """Give what is left when the answer has ended: it may have been cut off."""
        if not self._pending and not self._inside:
            return

        rest, inside = self._pending, self._inside
        self._pending, self._inside = "", False
        call = _read(rest) if inside else None
        if call is not None:
            yield call
        elif inside and not self._required:
            yield BEGIN + rest
        elif rest:
            yield rest


def _read(text: str) -> ToolCall | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None

    name, arguments = (value.get("name"), value.get("arguments", {})) if isinstance(value, dict) else (None, None)
    if not isinstance(name, str) or not _NAME.fullmatch(name) or not isinstance(arguments, dict):
        return None
    try:
        written = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
    except ValueError:  # NaN, and numbers beyond every float, are not JSON
        return None
    # Half a surrogate pair may be written as an escape, but is no text.
    whole = written == written.encode(errors="replace").decode()
    return ToolCall(name=name, arguments=written if whole else json.dumps(arguments))


def _end_of_call(text: str) -> int:
    """Where the tag begins that ends a call; one inside a JSON string belongs to the string. -1 if it has not come."""
    place = text.find(END)
    while place >= 0 and _ESCAPED.sub("", text[:place]).count('"') % 2:
        place = text.find(END, place + 1)
    return place


def _beginning_of(mark: str, text: str) -> int:
    """Length of the longest end of `text` that may grow into `mark`."""
    return next((size for size in range(min(len(mark) - 1, len(text)), 0, -1) if mark.startswith(text[-size:])), 0)
