"""A script for `ScriptedEngine` that plays a sensible model: it keeps to schemas, calls tools, and reads what they say.

It sees what a model sees (the prompt) and what the sampler is told (the constraint), nothing else. Values come from the
last question: numbers in the order of its numbers, texts from what it quotes.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from moesaic.server.engine import ConstraintKind, GenerateRequest

__all__ = ["prompt_of", "sensible"]

_TURN = re.compile(r"^(system|user|assistant|tool): ", re.MULTILINE)
_QUOTED = re.compile(r"'([^']+)'")
_NUMBER = re.compile(r"-?\d+")


def prompt_of(request: GenerateRequest) -> str:
    """The prompt as text: tokens are bytes."""
    return bytes(request.prompt_token_ids).decode()


def sensible(request: GenerateRequest) -> str:
    """What a sensible model answers."""
    turns = _turns(prompt_of(request))
    question = next((text for role, text in reversed(turns) if role == "user"), "")
    constraint = request.sampling.constraint
    if constraint is None:
        return _answer(turns)
    value = str(constraint.value)
    if constraint.kind is ConstraintKind.JSON_SCHEMA:
        return _Filler(question).text(json.loads(value))
    if constraint.kind is ConstraintKind.JSON_OBJECT:
        return json.dumps({key: f"some {key}" for key in _QUOTED.findall(question)}, ensure_ascii=False)
    if constraint.kind is ConstraintKind.CHOICE:
        return constraint.value[0]
    if constraint.kind is ConstraintKind.STRUCTURAL_TAG and turns[-1][0] != "tool":
        return _called(json.loads(value), question)
    return _answer(turns)


def _turns(prompt: str) -> list[tuple[str, str]]:
    """Role and text of each turn, without the one that is asked for."""
    _, *parts = _TURN.split(prompt.removesuffix("assistant: "))
    return [(role, text.strip()) for role, text in zip(parts[::2], parts[1::2], strict=True)]


def _answer(turns: list[tuple[str, str]]) -> str:
    role, text = turns[-1]
    return f"The tool says: {text}" if role == "tool" else f"Hello, how are you? I heard: {text} 好的。"


def _called(form: Mapping[str, Any], question: str) -> str:
    """One call for each tool that the question names; of the first tool if it names none."""
    tags = form["format"]["tags"]
    named = [tag for tag in tags if json.loads(tag["begin"].split('"name": ')[1].split(",")[0]) in question]
    calls = []
    for tag in named or tags[:1]:
        arguments = _Filler(question).text(tag["content"]["json_schema"])
        calls.append(tag["begin"] + arguments + tag["end"])
    return "Let me see.\n" + "\n".join(calls)


class _Filler:
    """Values that satisfy a schema, taken from a question where it has some."""

    def __init__(self, question: str) -> None:
        self._question = question
        self._numbers = iter([int(number) for number in _NUMBER.findall(question)])
        self._texts: Iterator[str] = iter(_QUOTED.findall(question))
        self._root: Mapping[str, Any] = {}

    def text(self, schema: Mapping[str, Any]) -> str:
        """A value, as JSON."""
        self._root = schema
        return json.dumps(self._value(schema, "answer", depth=0), ensure_ascii=False, separators=(",", ":"))

    def _value(self, schema: Mapping[str, Any], name: str, *, depth: int) -> Any:
        if "$ref" in schema:
            return self._value(self._resolved(schema["$ref"]), name, depth=depth)
        if "const" in schema or "enum" in schema:
            return schema["const"] if "const" in schema else schema["enum"][0]
        for key in ("anyOf", "oneOf", "allOf"):
            if key in schema:
                return self._value(min(schema[key], key=lambda option: self._rank(option, depth)), name, depth=depth)
        kind = schema.get("type", "object" if "properties" in schema else "string")
        kind = kind[0] if isinstance(kind, list) else kind
        if kind == "object":
            properties = schema.get("properties", {})
            return {key: self._value(part, key, depth=depth + 1) for key, part in properties.items()}
        if kind == "array":
            count = max(schema.get("minItems", 0), 1 if depth < 3 else 0)
            return [self._value(schema.get("items", {}), name, depth=depth + 1) for _ in range(count)]
        return self._plain(kind, schema, name)

    def _rank(self, option: Mapping[str, Any], depth: int) -> tuple[bool, bool]:
        """How little an option suits: the call that was asked for is best, and nothing where it gets too deep."""
        called = option.get("properties", {}).get("name", {}).get("const")
        return called not in self._question.split(), (option.get("type") == "null") == (depth < 3)

    def _plain(self, kind: str, schema: Mapping[str, Any], name: str) -> Any:
        if kind in ("integer", "number"):
            number = next(self._numbers, 1)
            return max(schema.get("minimum", number), min(schema.get("maximum", number), number))
        plain = {"boolean": True, "null": None}
        return plain[kind] if kind in plain else next(self._texts, schema.get("description", f"some {name}"))

    def _resolved(self, reference: str) -> Mapping[str, Any]:
        found: Any = self._root
        for part in reference.removeprefix("#").split("/")[1:]:
            found = found[part]
        schema: Mapping[str, Any] = found
        return schema
