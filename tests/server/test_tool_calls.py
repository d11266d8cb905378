"""Calls of tools: read from text however it is cut, and offered under schemas whose references still hold."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.errors import RequestError
from moesaic.server.engine import ConstraintKind
from moesaic.server.tool_calls import BEGIN, END, ToolCall, ToolCallReader, ToolSpecification, constraint_for, offer

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ARGUMENTS = st.dictionaries(
    TEXT, TEXT | st.integers() | st.booleans() | st.none() | st.lists(TEXT, max_size=2), max_size=3
)
PIECES = st.sampled_from([*'ab<>/_ \n"\\{}', BEGIN[:5], END[:7], "世"])
FREE = st.lists(PIECES, max_size=30).map("".join).filter(lambda text: BEGIN not in text)
BROKEN = st.lists(st.sampled_from([BEGIN, END, '"', "\\", "{", "}", "x", '{"name": "a"}']), max_size=12).map("".join)
NAME = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)


def read(text: str, *, required: bool = False, size: int = 1) -> list[str | ToolCall]:
    """What a reader gives for a text that comes in pieces; neighbouring pieces of speech are joined."""
    reader = ToolCallReader(required=required)
    parts: list[str | ToolCall] = []
    for begin in range(0, len(text), size):
        parts += reader.push(text[begin : begin + size])
    joined: list[str | ToolCall] = []
    for part in [*parts, *reader.close()]:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return joined


def written(name: str, arguments: dict[str, Any]) -> str:
    """A call as models write it."""
    return f"{BEGIN}\n{json.dumps({'name': name, 'arguments': arguments}, ensure_ascii=False)}\n{END}"


def spoken(parts: list[str | ToolCall]) -> str:
    """The text that parts stand for."""
    return "".join(part if isinstance(part, str) else written(part.name, json.loads(part.arguments)) for part in parts)


@given(st.lists(FREE | st.tuples(NAME, ARGUMENTS), max_size=4), st.integers(1, 7))
def test_text_and_calls_together_are_the_answer(pieces: list[Any], size: int) -> None:
    text = "".join(piece if isinstance(piece, str) else written(*piece) for piece in pieces)
    if text.count(BEGIN) != sum(isinstance(piece, tuple) for piece in pieces):
        return  # two pieces of speech made a tag
    parts = read(text, size=size)
    assert spoken(parts) == text
    calls = [(part.name, json.loads(part.arguments)) for part in parts if isinstance(part, ToolCall)]
    assert calls == [piece for piece in pieces if isinstance(piece, tuple)]
    assert parts == read(text, size=len(text) + 1)


@given(BROKEN, st.integers(1, 9))
def test_no_text_is_lost_however_broken_it_is(text: str, size: int) -> None:
    parts = read(text, size=size)
    if not any(isinstance(part, ToolCall) for part in parts):
        assert "".join(str(part) for part in parts) == text
    assert parts == read(text, size=len(text) + 1)


@given(NAME, ARGUMENTS, st.integers(1, 9))
def test_a_required_call(name: str, arguments: dict[str, Any], size: int) -> None:
    text = json.dumps({"name": name, "arguments": arguments})
    [call] = read(text, required=True, size=size)
    assert isinstance(call, ToolCall)
    assert (call.name, json.loads(call.arguments)) == (name, arguments)
    assert read(text[:-1], required=True, size=size) == [text[:-1]]


def test_text_is_shown_as_soon_as_it_cannot_be_a_tag() -> None:
    reader = ToolCallReader()
    assert list(reader.push("a <tool")) == ["a "]
    assert list(reader.push("s>")) == ["<tools>"]
    assert list(reader.push("<tool_call>")) == []
    assert list(reader.push('{"name": "f", "arguments": {}}')) == []
    assert list(reader.push(END + "!")) == [ToolCall(name="f", arguments="{}"), "!"]
    assert list(reader.close()) == []


def test_a_tag_inside_a_string_is_part_of_it() -> None:
    arguments = {"text": f'say "{END}" or \\ {BEGIN}'}
    assert read(written("note", arguments)) == [ToolCall(name="note", arguments=json.dumps(arguments))]


@pytest.mark.parametrize(
    "inner",
    [
        "",
        "no json",
        "[]",
        "3",
        '{"name": 3, "arguments": {}}',
        '{"name": "a b", "arguments": {}}',
        '{"name": "", "arguments": {}}',
        r'{"name": "\ud800", "arguments": {}}',
        '{"name": "a", "arguments": []}',
        '{"name": "a", "arguments": "{}"}',
        '{"name": "a", "arguments": {"x": NaN}}',
        '{"name": "a", "arguments": {"x": 1e999}}',
        '{"name": "a", "arguments": {"x": ' + "9" * 5000 + "}}",
        "[" * 30_000,
    ],
    ids=lambda inner: inner[:30],
)
def test_what_is_no_call_stays_text(inner: str) -> None:
    text = f"a{BEGIN}{inner}{END}b"
    assert read(text, size=len(text)) == [text]
    assert read(inner, required=True, size=len(text)) == ([inner] if inner else [])


def test_half_a_surrogate_pair_stays_an_escape() -> None:
    [call] = read('{"name": "a", "arguments": {"x": "\\ud800", "y": "世"}}', required=True)
    assert isinstance(call, ToolCall)
    assert call.arguments.encode()
    assert json.loads(call.arguments) == {"x": "\ud800", "y": "世"}


def specification(schema: Any, name: str = "f") -> ToolSpecification:
    return ToolSpecification.checked("tools[0]", name, "", json.dumps(schema))


def resolved(root: Any, reference: str) -> Any:
    """What a reference of a schema points at."""
    value = root
    for step in reference.removeprefix("#").split("/")[1:]:
        value = value[step]
    return value


def test_references_hold_where_a_schema_stands_among_others() -> None:
    tree = {
        "type": "object",
        "properties": {
            "root": {"$ref": "#"},
            "part": {"$ref": "#/$defs/part"},
            "$ref": {"type": "string"},
            "const": {"$ref": "#/$defs/part"},
            "fixed": {"const": {"$ref": "#/not/a/reference"}},
            "some": {"enum": [{"$ref": "#/data"}], "default": {"$ref": "#/data"}},
            "far": {"$ref": "https://example.org/x"},
        },
        "$defs": {"part": {"anyOf": [{"$ref": "#/$defs/part"}, {"type": "null"}]}},
    }
    constraint = constraint_for([specification(tree), specification({}, "g")], required=True)
    assert constraint.kind is ConstraintKind.JSON_SCHEMA
    schema = json.loads(str(constraint.value))
    calls = {each["properties"]["name"]["const"]: each["properties"]["arguments"]["$ref"] for each in schema["anyOf"]}
    moved = resolved(schema, calls["f"])
    inner = moved["properties"]
    assert resolved(schema, inner["root"]["$ref"]) is moved
    assert resolved(schema, inner["part"]["$ref"]) is moved["$defs"]["part"]
    assert resolved(schema, moved["$defs"]["part"]["anyOf"][0]["$ref"]) is moved["$defs"]["part"]
    assert resolved(schema, inner["const"]["$ref"]) is moved["$defs"]["part"]
    assert inner["$ref"] == {"type": "string"}
    assert inner["fixed"] == {"const": {"$ref": "#/not/a/reference"}}
    assert inner["some"] == {"enum": [{"$ref": "#/data"}], "default": {"$ref": "#/data"}}
    assert inner["far"] == {"$ref": "https://example.org/x"}
    assert resolved(schema, calls["g"])["type"] == "object"


def test_one_tool_needs_no_alternatives() -> None:
    schema = json.loads(str(constraint_for([specification({})], required=True).value))
    assert schema["properties"]["name"] == {"const": "f"}
    assert schema["required"] == ["name", "arguments"]
    assert schema["additionalProperties"] is False


def test_optional_calls_are_tags_in_free_text() -> None:
    constraint = constraint_for([specification({}), specification({}, "g")], required=False)
    assert constraint.kind is ConstraintKind.STRUCTURAL_TAG
    form = json.loads(str(constraint.value))["format"]
    assert (form["type"], form["triggers"]) == ("triggered_tags", [BEGIN])
    assert [tag["begin"] for tag in form["tags"]] == [f'{BEGIN}\n{{"name": "{n}", "arguments": ' for n in "fg"]


@pytest.mark.parametrize("required", [False, True])
def test_the_offer_names_every_tool(required: bool) -> None:
    tools = [ToolSpecification.checked("t", "look_up", "Looks 世 up.", ""), specification({}, "g")]
    text = offer(tools, required=required)
    assert all(part in text for part in ("look_up", "Looks 世 up.", '"g"'))
    assert (BEGIN in text) is not required


def test_no_schema_means_no_arguments() -> None:
    tool = ToolSpecification.checked("t", "a", "", "  ")
    assert tool.schema == {"type": "object", "properties": {}, "additionalProperties": False}
    with pytest.raises(RequestError, match="describe an object"):
        specification({"type": "string"})
