"""Every field of every call out of its range: refused with the code, the reason and the field that it concerns."""

import json
import math
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.descriptor import Descriptor

from moesaic import v1
from moesaic.errors import RequestError
from moesaic.server import MoesaicServer, ServerConfig
from moesaic.server.engine import ScriptedEngine
from tests.server.serving import METHODS, Served, chat, generate, raw_call, refused, serving

SHARED = pytest.mark.asyncio(loop_scope="module")

INVALID = grpc.StatusCode.INVALID_ARGUMENT
TOOL = v1.Tool(name="look_up", description="Looks up.")
NAN, INF, UINT32, UINT64 = math.nan, math.inf, 2**32 - 1, 2**64 - 1
DEEP = '{"type":"array","items":' * 80 + "{}" + "}" * 80


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served() -> AsyncIterator[Served]:
    async with serving(["ok"], max_batch=4, max_message_bytes=2**20) as running:
        yield running


SAMPLING: list[tuple[str, Any]] = [
    ("max_tokens", 0),
    ("max_tokens", 509),
    ("max_tokens", UINT32),
    ("temperature", -1e-9),
    ("temperature", 2.1),
    ("temperature", NAN),
    ("temperature", -INF),
    ("top_p", 0.0),
    ("top_p", 1.1),
    ("top_p", NAN),
    ("top_p", -1.0),
    ("top_k", 258),
    ("top_k", UINT32),
    ("min_p", -0.1),
    ("min_p", 1.1),
    ("min_p", NAN),
    ("repetition_penalty", 0.0),
    ("repetition_penalty", -1.0),
    ("repetition_penalty", 10.1),
    ("repetition_penalty", INF),
    ("presence_penalty", 2.1),
    ("presence_penalty", -2.1),
    ("presence_penalty", NAN),
    ("frequency_penalty", 2.1),
    ("frequency_penalty", -INF),
    ("stop", [""]),
    ("stop", ["x"] * 17),
    ("stop", ["x" * 257]),
    ("stop_token_ids", [257]),
    ("stop_token_ids", [UINT32]),
    ("stop_token_ids", [1] * 17),
    ("seed", 2**63),
    ("seed", UINT64),
    ("logprobs", 21),
    ("logprobs", UINT32),
    ("n", 0),
    ("n", 17),
    ("n", UINT32),
]

CONSTRAINTS: list[tuple[str, v1.Constraint]] = [
    ("", v1.Constraint()),
    (".json_schema", v1.Constraint(json_schema="")),
    (".json_schema", v1.Constraint(json_schema="{")),
    (".json_schema", v1.Constraint(json_schema="[1]")),
    (".json_schema", v1.Constraint(json_schema="3")),
    (".json_schema", v1.Constraint(json_schema=DEEP)),
    (".json_schema", v1.Constraint(json_schema="[" * 30_000)),
    (".json_schema", v1.Constraint(json_schema=json.dumps({"const": "x" * 70_000}))),
    (".regex", v1.Constraint(regex="")),
    (".regex", v1.Constraint(regex="a\0b")),
    (".regex", v1.Constraint(regex="a" * 70_000)),
    (".choice", v1.Constraint(choice=v1.Choices())),
    (".choice", v1.Constraint(choice=v1.Choices(texts=["yes", ""]))),
    (".choice", v1.Constraint(choice=v1.Choices(texts=["x"] * 1025))),
    (".choice", v1.Constraint(choice=v1.Choices(texts=["x" * 70_000]))),
    (".grammar", v1.Constraint(grammar="  ")),
    (".grammar", v1.Constraint(grammar='root ::= "\0"')),
    (".grammar", v1.Constraint(grammar="x" * 70_000)),
]


def short(value: object) -> str:
    return str(value)[:40]


@pytest.mark.parametrize(("field", "value"), SAMPLING, ids=short)
@SHARED
async def test_sampling_parameters(served: Served, field: str, value: Any) -> None:
    asked = generate(**{field: value})
    talked = chat(sampling=asked.sampling)
    for method, request in (
        ("Generate", asked),
        ("GenerateStream", v1.GenerateStreamRequest(request=asked)),
        ("Chat", talked),
        ("ChatStream", v1.ChatStreamRequest(request=talked)),
    ):
        refusal = await refused(served, method, request)
        assert (refusal.code, refusal.reason, refusal.field) == (INVALID, "INVALID_FIELD", f"sampling.{field}"), method
    assert served.idle()


@pytest.mark.parametrize(("form", "constraint"), CONSTRAINTS, ids=short)
@SHARED
async def test_constraints(served: Served, form: str, constraint: v1.Constraint) -> None:
    for method, request in (
        ("Generate", generate(constraint=constraint)),
        ("Chat", chat(sampling=v1.SamplingParameters(constraint=constraint))),
    ):
        refusal = await refused(served, method, request)
        assert (refusal.code, refusal.field) == (INVALID, f"sampling.constraint{form}"), method
        assert len(refusal.message) <= 1000


def test_every_sampling_field_and_form_is_tried() -> None:
    free = {"ignore_eos", "constraint"}  # a bool has no range; forms are listed apart
    fields = {field.name for field in v1.SamplingParameters.DESCRIPTOR.fields}
    assert {name for name, _ in SAMPLING} == fields - free
    forms = {field.name for field in v1.Constraint.DESCRIPTOR.fields} - {"json_object"}
    assert {form.removeprefix(".") for form, _ in CONSTRAINTS} - {""} == forms


@SHARED
async def test_values_that_exclude_each_other(served: Served) -> None:
    choice = v1.Constraint(choice=v1.Choices(texts=["a"]))
    for field, asked in (
        ("sampling.ignore_eos", generate(constraint=choice, ignore_eos=True)),
        ("sampling.n", generate(n=2, temperature=0.0)),
    ):
        assert (await refused(served, "Generate", asked)).field == field
    talked = chat(sampling=v1.SamplingParameters(constraint=choice), tools=[TOOL])
    assert (await refused(served, "Chat", talked)).field == "sampling.constraint"


def prompted(**prompt: Any) -> v1.GenerateRequest:
    return v1.GenerateRequest(prompt=v1.TextOrTokens(**prompt))


def ids(*values: int) -> v1.TokenIds:
    return v1.TokenIds(ids=values)


def said(*turns: v1.ChatMessage, **fields: Any) -> v1.ChatRequest:
    return v1.ChatRequest(messages=turns, **fields)


def called(arguments: str, role: v1.Role = v1.Role.ROLE_ASSISTANT) -> v1.ChatMessage:
    return v1.ChatMessage(role=role, tool_calls=[v1.ToolCall(id="1", name="look_up", arguments=arguments)])


def tool(name: str = "a", schema: str = "") -> v1.Tool:
    return v1.Tool(name=name, parameters_json_schema=schema)


def texts(count: int) -> list[v1.TextOrTokens]:
    return [v1.TextOrTokens(text="x")] * count


USER = v1.ChatMessage(role=v1.Role.ROLE_USER, content="hi")
MODE = v1.ToolChoice

FIELDS: list[tuple[str, Any, str]] = [
    ("Generate", v1.GenerateRequest(), "prompt"),
    ("Generate", prompted(text=""), "prompt"),
    ("Generate", prompted(token_ids=ids()), "prompt"),
    ("Generate", prompted(token_ids=ids(257)), "prompt"),
    ("Generate", prompted(token_ids=ids(1, UINT32)), "prompt"),
    ("Generate", prompted(text="x" * 512), "prompt"),
    ("Generate", prompted(text="x" * 200_000), "prompt"),
    ("Generate", generate(request_id="x" * 129), "request_id"),
    ("Generate", generate(request_id="a\nb"), "request_id"),
    ("GenerateStream", v1.GenerateStreamRequest(), "prompt"),
    ("Chat", v1.ChatRequest(), "messages"),
    ("Chat", said(*[USER] * 4097), "messages"),
    ("Chat", said(v1.ChatMessage(content="x")), "messages[0].role"),
    ("Chat", said(USER, v1.ChatMessage(role=99, content="x")), "messages[1].role"),  # type: ignore[arg-type]
    ("Chat", said(v1.ChatMessage(role=-1, content="x")), "messages[0].role"),  # type: ignore[arg-type]
    ("Chat", said(called("{}", v1.Role.ROLE_USER)), "messages[0].tool_calls"),
    ("Chat", said(called("{")), "messages[0].tool_calls[0].arguments"),
    ("Chat", said(called("[]")), "messages[0].tool_calls[0].arguments"),
    ("Chat", said(called("[" * 30_000)), "messages[0].tool_calls[0].arguments"),
    ("Chat", said(called(r'{"a": "\ud800"}')), "messages"),
    ("Chat", said(v1.ChatMessage(role=v1.Role.ROLE_USER, content="x" * 600)), "messages"),
    ("Chat", said(USER, request_id="\x7f"), "request_id"),
    ("Chat", said(USER, tools=[tool("")]), "tools[0].name"),
    ("Chat", said(USER, tools=[tool("a"), tool("a b")]), "tools[1].name"),
    ("Chat", said(USER, tools=[tool("x" * 65)]), "tools[0].name"),
    ("Chat", said(USER, tools=[tool("工具")]), "tools[0].name"),
    ("Chat", said(USER, tools=[tool(), tool()]), "tools"),
    ("Chat", said(USER, tools=[tool(f"t{i}") for i in range(129)]), "tools"),
    ("Chat", said(USER, tools=[tool(schema="{")]), "tools[0].parameters_json_schema"),
    ("Chat", said(USER, tools=[tool(schema="true")]), "tools[0].parameters_json_schema"),
    ("Chat", said(USER, tools=[tool(schema='{"type":"array"}')]), "tools[0].parameters_json_schema"),
    ("Chat", said(USER, tools=[tool(schema='{"a":' + DEEP + "}")]), "tools[0].parameters_json_schema"),
    ("Chat", said(USER, tools=[tool(schema=r'{"title":"\udfff"}')]), "messages"),
    ("Chat", said(USER, tools=[TOOL], tool_choice=MODE(mode=9)), "tool_choice.mode"),  # type: ignore[arg-type]
    ("Chat", said(USER, tool_choice=MODE(mode=v1.ToolMode.TOOL_MODE_REQUIRED)), "tool_choice.mode"),
    ("Chat", said(USER, tools=[TOOL], tool_choice=MODE(name="other")), "tool_choice.name"),
    ("Chat", said(USER, tool_choice=MODE(name="")), "tool_choice.name"),
    ("ChatStream", v1.ChatStreamRequest(), "messages"),
    ("Score", v1.ScoreRequest(), "continuations"),
    ("Score", v1.ScoreRequest(continuations=texts(5)), "continuations"),
    ("Score", v1.ScoreRequest(continuations=[v1.TextOrTokens()]), "continuations[0]"),
    ("Score", v1.ScoreRequest(continuations=[v1.TextOrTokens(text="")]), "continuations[0]"),
    ("Score", v1.ScoreRequest(continuations=[*texts(1), v1.TextOrTokens(token_ids=ids(300))]), "continuations[1]"),
    ("Score", v1.ScoreRequest(continuations=[*texts(1), v1.TextOrTokens(text="x" * 600)]), "continuations[1]"),
    ("Score", v1.ScoreRequest(prompt=v1.TextOrTokens(), continuations=texts(1)), "prompt"),
    ("Embed", v1.EmbedRequest(), "texts"),
    ("Embed", v1.EmbedRequest(texts=["x"] * 5), "texts"),
    ("Embed", v1.EmbedRequest(texts=["x"], purpose=7), "purpose"),  # type: ignore[arg-type]
    ("Tokenize", v1.TokenizeRequest(), "input"),
    ("Tokenize", v1.TokenizeRequest(text="x" * 200_000), "text"),
    ("Tokenize", v1.TokenizeRequest(conversation=v1.Conversation()), "messages"),
    ("Tokenize", v1.TokenizeRequest(conversation=v1.Conversation(messages=[USER], tools=[tool("")])), "tools[0].name"),
    ("Detokenize", v1.DetokenizeRequest(token_ids=[0, 257]), "token_ids"),
    ("Detokenize", v1.DetokenizeRequest(token_ids=[UINT32]), "token_ids"),
    ("Abort", v1.AbortRequest(), "request_id"),
]


@pytest.mark.parametrize(("method", "request_", "field"), FIELDS, ids=short)
@SHARED
async def test_a_field_out_of_range(served: Served, method: str, request_: Any, field: str) -> None:
    refusal = await refused(served, method, request_)
    assert (refusal.code, refusal.field) == (INVALID, field), refusal.message
    assert refusal.reason in ("INVALID_FIELD", "CONTEXT_OVERFLOW")
    assert refusal.request_id
    assert not refusal.retry
    assert refusal.message.startswith(f"{field}: ")
    assert served.idle()


def ranged(message: Descriptor, path: tuple[str, ...] = ()) -> set[str]:
    """Names of all fields below a request that are neither free text nor free numbers."""
    free = {"content", "description", "tool_call_id", "id", "add_special_tokens", "skip_special_tokens", "priority"}
    found = set()
    for field in message.fields:
        inner = field.message_type
        if inner is not None and inner.name != "SamplingParameters":
            found |= ranged(inner, (*path, field.name))
        elif field.name not in {*free, "model", "sampling"} and "tool_calls" not in path:
            found.add(field.name)
    return found


def test_every_field_with_a_range_is_tried() -> None:
    wanted = set().union(*(ranged(request.DESCRIPTOR) for request in METHODS.values()))
    parts = {"text": "prompt", "ids": "prompt", "texts": "texts", "mode": "mode", "name": "name"}
    tried = {part.partition("[")[0] for _, _, field in FIELDS for part in field.split(".")}
    assert {parts.get(name, name) for name in wanted} <= tried


@pytest.mark.parametrize(
    "method", [name for name, kind in METHODS.items() if "model" in kind.DESCRIPTOR.fields_by_name]
)
@SHARED
async def test_an_unknown_model(served: Served, method: str) -> None:
    refusal = await refused(served, method, METHODS[method](model="other" * 100))
    assert (refusal.code, refusal.reason, refusal.resource) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND", "model")
    assert len(refusal.message) < 300


@pytest.mark.parametrize("method", ["GenerateStream", "ChatStream"])
@SHARED
async def test_an_unknown_model_of_a_stream(served: Served, method: str) -> None:
    request = METHODS[method]()
    request.request.model = "other"
    assert (await refused(served, method, request)).code == grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("method", METHODS)
@SHARED
async def test_a_message_that_is_too_large(served: Served, method: str) -> None:
    request = METHODS[method]()
    request.MergeFromString(_unknown_field(2**20))
    refusal = await refused(served, method, request)
    assert refusal.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in refusal.message


def _unknown_field(size: int) -> bytes:
    """A field of number 2047 that no message has: parsers keep it, so that any message can be made large."""
    length, encoded = size, bytearray(b"\xfa\x7f")
    while length >= 0x80:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*encoded, length]) + bytes(size)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("raw", [b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0b" * 200, b"\x0a\x05\x0a\x02\xc3"])
@SHARED
async def test_bytes_that_are_no_message(served: Served, method: str, raw: bytes) -> None:
    service = "DiscoveryService" if method.startswith("Get") else "InferenceService"
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await raw_call(served, f"/moesaic.v1.{service}/{method}", raw)
    assert raised.value.code() == INVALID


@SHARED
async def test_a_method_that_is_not_there(served: Served) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await raw_call(served, "/moesaic.v1.InferenceService/Guess", b"")
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED


@SHARED
async def test_a_long_refusal_still_fits_into_headers(served: Served) -> None:
    tools = [tool(f"{index:03}" + "x" * 61) for index in range(128)]
    refusal = await refused(served, "Chat", said(USER, tools=tools, tool_choice=MODE(name="世" * 5000)))
    assert refusal.field == "tool_choice.name"
    refusal = await refused(served, "Chat", said(USER, tools=[*tools[:64], *tools[:64]]))
    assert refusal.field == "tools"
    assert (await refused(served, "Chat", said(called("世" * 5000)))).code == INVALID


async def test_a_long_refusal_of_the_engine_is_cut() -> None:
    class Talkative(ScriptedEngine):
        async def score(self, sequences: object) -> list[list[float]]:
            raise RequestError("sequences[0]", "世" * 5000)

    async with serving(Talkative()) as running:
        refusal = await refused(running, "Score", v1.ScoreRequest(continuations=[v1.TextOrTokens(text="x")]))
    assert (refusal.code, refusal.field) == (INVALID, "continuations[0]")
    assert len(refusal.message.encode()) <= 1000


@SHARED
async def test_what_a_server_does_not_have(served: Served) -> None:
    server = MoesaicServer(ScriptedEngine(), ServerConfig(listen="127.0.0.1:0"))
    await server.start()
    try:
        async with grpc.aio.insecure_channel(server.target) as channel:
            refusal = await refused(Served(server=server, channel=channel), "Embed", v1.EmbedRequest(texts=["x"]))
    finally:
        await server.stop(0)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNIMPLEMENTED, "UNSUPPORTED_FEATURE")
