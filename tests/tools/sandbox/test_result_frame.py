"""Frames taken apart: whatever the bytes are, there is a result or a reason, and never an exception."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.tools.sandbox.execution import ExecutionStatus, ProgramError
from moesaic.tools.sandbox.result_frame import MalformedFrame, Result, parse_frame

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab数", max_size=3), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def parsed(frame: Any, most_bytes: int = 10_000) -> Result | MalformedFrame:
    return parse_frame(json.dumps(frame).encode(), most_bytes=most_bytes)


@given(json_values)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    assert parsed({"outcome": "ok", "value": value}) == Result(ExecutionStatus.OK, value, None)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_result_or_have_a_reason(body: bytes) -> None:
    assert isinstance(parse_frame(body, most_bytes=100), Result | MalformedFrame)


@given(json_values)
def test_any_json_is_a_result_or_has_a_reason(value: Any) -> None:
    assert isinstance(parsed(value), Result | MalformedFrame)


def test_an_error_and_the_claims() -> None:
    texts = {"type": "A", "message": "b", "traceback": "c"}
    assert parsed({"outcome": "error", "error": texts}) == Result(ExecutionStatus.ERROR, None, ProgramError(**texts))
    for claim in (ExecutionStatus.MEMORY, ExecutionStatus.RESULT_LIMIT):
        found = parsed({"outcome": claim.value})
        assert isinstance(found, Result)
        assert found.status is claim


@pytest.mark.parametrize(
    "frame",
    [
        {"outcome": "timeout"},
        {"outcome": "forbidden"},
        {"outcome": "ok"},
        {"outcome": "ok", "value": 1, "tier": "namespaces"},
        {"outcome": "memory", "value": 1},
        {"outcome": "error", "error": {"type": "A", "message": 1, "traceback": ""}},
        {"outcome": "error", "error": "text"},
        {"outcome": ["ok"], "value": 1},
        {"value": 1},
        [],
        "ok",
        None,
    ],
)
def test_other_forms_are_no_result(frame: Any) -> None:
    assert isinstance(parsed(frame), MalformedFrame)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b'{"outcome": "ok", "value": NaN}',
        b'{"outcome": "ok", "value": Infinity}',
        b'{"outcome": "ok", "value": 1e999}',
        b'{"outcome": "ok", "value": ' + b"9" * 5000 + b"}",
        b'{"outcome": "ok", "value": ' + b"[" * 50 + b"]" * 50 + b"}",
        b'{"outcome": "ok", "value": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"outcome": "ok", "value": ' + b'{"a":' * 90_000,
        b"__import__('os').system('true')",
    ],
)
def test_bytes_that_are_hostile_are_no_result(body: bytes) -> None:
    assert isinstance(parse_frame(body, most_bytes=10**6), MalformedFrame)


def test_half_characters_become_question_marks() -> None:
    found = parse_frame(b'{"outcome": "ok", "value": {"\\ud800": ["\\udfff x"]}}', most_bytes=100)
    assert found == Result(ExecutionStatus.OK, {"?": ["? x"]}, None)


def test_a_value_may_have_as_many_bytes_as_is_said_and_no_more() -> None:
    for value, status in (("x" * 98, ExecutionStatus.OK), ("x" * 99, ExecutionStatus.RESULT_LIMIT)):
        found = parsed({"outcome": "ok", "value": value}, most_bytes=100)
        assert isinstance(found, Result)
        assert found.status is status
