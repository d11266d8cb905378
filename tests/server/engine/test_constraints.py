"""Constrained answers on the real engine: forms are kept, what cannot be kept is refused, and nothing harms it."""

import json
import re
from typing import Any

import pytest
from xgrammar import GrammarCompiler, GrammarMatcher, TokenizerInfo, VocabType

from moesaic.errors import RequestError
from moesaic.server.engine import Constraint, ConstraintKind, EngineLimits, EngineLoad, FinishReason, VllmEngine
from moesaic.server.engine.constraint_rules import MAX_SCHEMA_DEPTH, check_constraint
from moesaic.server.engine.strict_schema import strict_schema, strict_tag
from tests.server.engine.asking import Answer, ask, eventually, request

SESSION = pytest.mark.asyncio(loop_scope="session")
LIMITS = EngineLimits(context_length=128, vocab_size=300)
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 5}, "age": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
TAGS = {
    "type": "structural_tag",
    "format": {
        "type": "triggered_tags",
        "triggers": ["<"],
        "at_least_one": True,
        "tags": [
            {
                "begin": "<",
                "content": {"type": "json_schema", "json_schema": PERSON, "max_whitespace_cnt": 1},
                "end": ">",
            }
        ],
    },
}


def nested(levels: int) -> str:
    return '{"type":"array","items":' * levels + "{}" + "}" * levels


async def constrained(engine: VllmEngine, kind: ConstraintKind, value: Any, **options: Any) -> Answer:
    options = {"max_tokens": 60, "seed": 1, **options}
    (answer,) = await ask(engine, request("Say: ", constraint=Constraint(kind=kind, value=value), **options))
    return answer


@pytest.mark.engine
@SESSION
@pytest.mark.parametrize("seed", range(8))
async def test_a_schema_is_kept_by_weights_that_never_learnt_it(vllm_engine: VllmEngine, seed: int) -> None:
    answer = await constrained(vllm_engine, ConstraintKind.JSON_SCHEMA, json.dumps(PERSON), seed=seed)
    assert answer.finish_reason is FinishReason.STOP
    person = json.loads(answer.text)
    assert set(person) == {"name", "age"}
    assert len(person["name"]) <= 5
    assert 0 <= person["age"] <= 99
    assert answer.text == json.dumps(person, separators=(",", ":"), ensure_ascii=False)  # no whitespace to get lost in


@pytest.mark.engine
@SESSION
@pytest.mark.parametrize(
    ("kind", "value", "form"),
    [
        (ConstraintKind.CHOICE, ("巴黎", "London"), "巴黎|London"),
        (ConstraintKind.REGEX, r"[a-c]{3}-\d{2}", r"[a-c]{3}-\d{2}"),
        (ConstraintKind.GRAMMAR, 'root ::= ("yes" | "no") "!"', "(yes|no)!"),
        (ConstraintKind.STRUCTURAL_TAG, json.dumps(TAGS), r"(?s).*<\{.*\}>.*"),
    ],
)
async def test_other_forms_are_kept_too(vllm_engine: VllmEngine, kind: ConstraintKind, value: Any, form: str) -> None:
    answer = await constrained(vllm_engine, kind, value)
    assert re.fullmatch(form, answer.text)


@pytest.mark.engine
@SESSION
async def test_any_object_is_an_object(vllm_engine: VllmEngine) -> None:
    answer = await constrained(vllm_engine, ConstraintKind.JSON_OBJECT, "")
    assert answer.text.startswith("{")
    assert answer.finish_reason is FinishReason.LENGTH or isinstance(json.loads(answer.text), dict)


@pytest.mark.engine
@SESSION
@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (ConstraintKind.GRAMMAR, "root ::= root", "no text can fulfil"),
        (ConstraintKind.GRAMMAR, 'root ::= "a" b\nb ::= b', "no text can fulfil"),
        (ConstraintKind.REGEX, r"[^\s\S]", "no text can fulfil"),
        (ConstraintKind.JSON_SCHEMA, '{"$ref":"#"}', "no text can fulfil"),
        (ConstraintKind.REGEX, "(?=a)b", "cannot be compiled"),
        (ConstraintKind.REGEX, "((", "cannot be compiled"),
        (ConstraintKind.JSON_SCHEMA, '{"type":"integer","multipleOf":3}', "cannot be compiled"),
        (ConstraintKind.JSON_SCHEMA, '{"type":"foo"}', "cannot be compiled"),
        (ConstraintKind.JSON_SCHEMA, "false", "cannot be compiled"),
        (ConstraintKind.GRAMMAR, "hello", "cannot be compiled"),
    ],
)
async def test_what_cannot_be_kept_is_refused_and_harms_nobody(
    vllm_engine: VllmEngine, kind: ConstraintKind, value: str, reason: str
) -> None:
    with pytest.raises(RequestError, match=reason) as refusal:
        await constrained(vllm_engine, kind, value)
    assert refusal.value.field == f"constraint.{kind.value}"
    assert "/project" not in str(refusal.value)
    await eventually(lambda: vllm_engine.load() == EngineLoad())
    assert (await constrained(vllm_engine, ConstraintKind.CHOICE, ("ok",))).text == "ok"


@pytest.mark.engine
@SESSION
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (ConstraintKind.REGEX, "((a{1,1000}){1,1000}){1,1000}"),
        (ConstraintKind.JSON_SCHEMA, nested(MAX_SCHEMA_DEPTH - 2)),
        (ConstraintKind.JSON_SCHEMA, json.dumps({"type": "string", "maxLength": 10**7})),
        (ConstraintKind.CHOICE, tuple(f"choice {rank}" for rank in range(1024))),
    ],
)
async def test_the_largest_that_is_allowed_is_served(vllm_engine: VllmEngine, kind: ConstraintKind, value: Any) -> None:
    assert (await constrained(vllm_engine, kind, value)).finish_reason is not None


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (ConstraintKind.JSON_SCHEMA, "{", "is not JSON"),
        (ConstraintKind.JSON_SCHEMA, "3", "is not a JSON Schema"),
        (ConstraintKind.JSON_SCHEMA, "[" * 100_000, "bytes; at most"),
        (ConstraintKind.JSON_SCHEMA, "[" * 60_000, "is not JSON"),
        (ConstraintKind.JSON_SCHEMA, nested(MAX_SCHEMA_DEPTH), "levels deep; at most 64"),
        (ConstraintKind.REGEX, "a" * 70_000, "70000 bytes; at most 65536"),
        (ConstraintKind.REGEX, " ", "is empty"),
        (ConstraintKind.GRAMMAR, 'root ::= "\0"', r"U\+0000"),
        (ConstraintKind.GRAMMAR, "\ud800", "not text in UTF-8"),
        (ConstraintKind.GRAMMAR, 5, "is not a text"),
        (ConstraintKind.CHOICE, (), "0 texts; give 1 to 1024"),
        (ConstraintKind.CHOICE, ("a",) * 1025, "1025 texts"),
        (ConstraintKind.CHOICE, ("a", ""), "at position 1"),
        (ConstraintKind.CHOICE, "ab", "'ab'; give 1"),
    ],
)
def test_malformed_constraints_are_refused_before_anything_is_compiled(
    kind: ConstraintKind, value: Any, reason: str
) -> None:
    with pytest.raises(RequestError, match=reason) as refusal:
        check_constraint(Constraint(kind=kind, value=value), LIMITS)
    assert refusal.value.field == f"constraint.{kind.value}"
    assert len(str(refusal.value)) < 400


def test_bounds_of_strings_become_patterns_and_data_stays_as_it_is() -> None:
    named = {"type": "string", "maxLength": 3}
    properties = {"a": named, "maxLength": {"type": "string", "minLength": 1}, "default": named}
    schema = {"properties": properties, "default": named}
    strict = json.loads(strict_schema(json.dumps(schema)))
    assert strict["default"] == named
    assert (
        strict["properties"]["default"] == strict["properties"]["a"] == {"type": "string"} | strict["properties"]["a"]
    )
    for value, fits in (
        ("", True),
        ("合同书", True),
        ("abcd", False),
        ("a\x0c", False),
        ('"', False),
        ("a🙂", True),
        (r"\n", False),
        ("\ud800", False),
    ):
        assert (re.fullmatch(strict["properties"]["a"]["pattern"], value) is not None) is fits
    assert re.fullmatch(strict["properties"]["maxLength"]["pattern"], "") is None
    assert re.fullmatch(strict["properties"]["maxLength"]["pattern"], "x" * 99)


@pytest.mark.parametrize(
    ("written", "fits"),
    [
        ("合🙂!".encode(), True),
        ("\ud7ff\ue000\U0010ffff".encode(), True),
        (b"abcd", False),
        (b"\xed\xa0\x80", False),  # half of a surrogate pair
        (b"\xe0\x80\x80", False),  # longer than need be
        (b"\xf0\x80\x80\x80", False),
        (b"\xf4\x90\x80\x80", False),  # beyond Unicode
        (b"\x80", False),
        (b"\x1f", False),
    ],
)
def test_tokens_of_single_bytes_write_nothing_but_characters(written: bytes, fits: bool) -> None:
    """What is no character would be read as several, and the string would not keep its bound."""
    vocabulary = TokenizerInfo([bytes([byte]) for byte in range(256)], VocabType.RAW, stop_token_ids=[0])
    schema, compiler = {"type": "string", "maxLength": 3}, GrammarCompiler(vocabulary)
    content = {"type": "json_schema", "json_schema": schema}
    tags = [{"begin": "<", "content": content, "end": ">"}]
    tag = {"type": "structural_tag", "format": {"type": "triggered_tags", "triggers": ["<"], "tags": tags}}
    alone = compiler.compile_json_schema(strict_schema(json.dumps(schema)))
    within = compiler.compile_structural_tag(strict_tag(json.dumps(tag)))
    for grammar, begin, end in ((alone, b'"', b'"'), (within, b'<"', b'">')):
        matcher = GrammarMatcher(grammar)
        assert all(matcher.accept_token(byte) for byte in begin + written + end) is fits


@pytest.mark.parametrize(
    ("bounds", "kept"),
    [({"maxLength": 128}, True), ({"maxLength": 129}, False), ({"minLength": 1, "maxLength": 20_000}, False)],
)
def test_bounds_that_cannot_be_compiled_are_left_to_the_reader(bounds: dict[str, int], kept: bool) -> None:
    strict = json.loads(strict_schema(json.dumps({"type": "string", "title": "t"} | bounds)))
    assert ("pattern" in strict) is kept
    assert strict == {"type": "string", "title": "t"} | ({"pattern": strict["pattern"]} if kept else {})


def test_what_is_no_constraint_is_refused() -> None:
    with pytest.raises(RequestError, match="is not a constraint"):
        check_constraint("yes", LIMITS)  # type: ignore[arg-type]
