"""JSON Schemas for xgrammar, alone or within a structural tag, so that what it lets through is JSON.

A bounded string (`minLength`, `maxLength`) is compiled by xgrammar 0.2 into any characters but quote and backslash: raw
control characters among them, which JSON forbids, so that the answer would not parse. The same bounds are therefore
written as a pattern of what stands for itself in a string of JSON.

The pattern says which characters there are, not which there are not: what xgrammar makes of the latter lets byte tokens
write halves of surrogate pairs and overlong forms. A decoder turns each into several replacement characters, and the
string is longer than its bound.

A bound above 128 is left to whoever reads the answer: those strings are texts, and may hold escapes, as of line breaks.
With a pattern xgrammar lets none through, or takes hundreds of milliseconds for each token.
"""

import json
from typing import Any

__all__ = ["strict_schema", "strict_tag"]

_CHARACTER = "[ !#-\\[\\]-\ud7ff\ue000-\U0010ffff]"
"""All of Unicode from the space on, but quote and backslash."""
_LARGEST_BOUND = 128
_DATA = frozenset({"const", "default", "enum", "examples"})
_NAMED = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})


def strict_schema(schema: str) -> str:
    """Give the JSON Schema `schema`, JSON text, with the bounds of strings written as patterns, or left out."""
    return json.dumps(_strict(json.loads(schema)), ensure_ascii=False)


def strict_tag(tag: str) -> str:
    """Give the structural tag `tag`, JSON text, with the JSON Schemas of its parts as `strict_schema` gives them."""
    return json.dumps(_strict_contents(json.loads(tag)), ensure_ascii=False)


def _strict_contents(value: Any) -> Any:
    if isinstance(value, list):
        return [_strict_contents(part) for part in value]
    if not isinstance(value, dict):
        return value
    if value.get("type") == "json_schema" and "json_schema" in value:
        return value | {"json_schema": _strict(value["json_schema"])}
    return {key: _strict_contents(part) for key, part in value.items()}


def _strict(value: Any) -> Any:
    if isinstance(value, list):
        return [_strict(part) for part in value]
    if not isinstance(value, dict):
        return value

    strict = {key: _strict_part(key, part) for key, part in value.items()}
    low, high = value.get("minLength"), value.get("maxLength")
    bounded = isinstance(low, int) or isinstance(high, int)
    if value.get("type") == "string" and bounded and not {"pattern", "format"} & value.keys():
        strict = {key: part for key, part in strict.items() if key not in ("minLength", "maxLength")}
        if max(low or 0, high or 0) <= _LARGEST_BOUND:
            strict["pattern"] = f"^{_CHARACTER}{{{low or 0},{'' if high is None else high}}}$"
    return strict


def _strict_part(key: str, part: Any) -> Any:
    """A keyword's value: data stays as it is, and names of properties are no keywords."""
    if key in _DATA:
        return part
    if key in _NAMED and isinstance(part, dict):
        return {name: _strict(schema) for name, schema in part.items()}
    return _strict(part)
