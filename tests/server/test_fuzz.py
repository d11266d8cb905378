"""Any message of any call: the server answers, or refuses with a canonical code, and goes on serving."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from moesaic.server.engine import EngineState
from tests.client.waiting import PATIENCE_S
from tests.server.serving import CANONICAL, METHODS, Served, generate, raw_call, serving

Run = Callable[[Coroutine[Any, Any, Any]], Any]

_NUMBERS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_DOUBLE: st.floats() | st.floats(0, 2),
    FieldDescriptor.TYPE_UINT32: st.integers(0, 2**32 - 1) | st.integers(0, 300),
    FieldDescriptor.TYPE_UINT64: st.integers(0, 2**64 - 1) | st.integers(0, 300),
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_ENUM: st.integers(-(2**31), 2**31 - 1) | st.integers(0, 5),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
}
_KNOWN_TEXTS = ["", "tiny", "a_tool", "{}", '{"type": "object"}', "[a-z]+", 'root ::= "x"', r'{"a": "\ud800"}', "1e999"]
_TEXTS = (
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
    | st.sampled_from(_KNOWN_TEXTS)
    | st.recursive(st.sampled_from(["{}", "1", "null"]), lambda inner: inner.map(lambda text: f'{{"a": {text}}}'))
)


def _values(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        return messages(field.message_type, depth - 1)
    return _TEXTS if field.type == FieldDescriptor.TYPE_STRING else _NUMBERS[field.type]


def messages(descriptor: Descriptor, depth: int = 5) -> st.SearchStrategy[dict[str, Any]]:
    """Fields of any message of a type, sound values and unsound ones mixed."""
    optional = {}
    for field in descriptor.fields:
        if field.message_type is not None and depth == 0:
            continue
        one = _values(field, depth)
        optional[field.name] = st.lists(one, max_size=3) if field.is_repeated else one
    return st.fixed_dictionaries({}, optional=optional)


def filled(message: Message, fields: dict[str, Any]) -> Message:
    """Give a message its fields; of a oneof the last one counts."""
    for name, value in fields.items():
        inner = message.DESCRIPTOR.fields_by_name[name].message_type
        if isinstance(value, list):
            for each in value:
                part = getattr(message, name)
                filled(part.add(), each) if inner is not None else part.append(each)
        elif inner is not None:
            getattr(message, name).SetInParent()
            filled(getattr(message, name), value)
        else:
            setattr(message, name, value)
    return message


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Run, Served]]:
    """A server, and what runs a coroutine on its loop: hypothesis calls plain functions."""
    with asyncio.Runner() as runner:
        block = serving(["ok", '<tool_call>\n{"name": "a_tool", "arguments": {}}\n</tool_call>'])
        yield runner.run, runner.run(block.__aenter__())
        runner.run(block.__aexit__(None, None, None))


def outcome(run: Run, call: Coroutine[Any, Any, Any]) -> grpc.StatusCode:
    try:
        run(call)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def still_serves(run: Run, server: Served) -> None:
    run(server.until_idle())
    assert server.server.engine.state is EngineState.READY
    assert run(server.call("Generate", generate())).completions[0].finish_reason


@pytest.mark.parametrize("method", METHODS)
def test_any_message(served: tuple[Run, Served], method: str) -> None:
    run, server = served
    seen = set()

    @given(messages(METHODS[method].DESCRIPTOR))
    def try_one(fields: dict[str, Any]) -> None:
        code = outcome(run, server.call(method, filled(METHODS[method](), fields)))
        assert code in CANONICAL, code
        assert code is not grpc.StatusCode.DEADLINE_EXCEEDED
        seen.add(code)

    try_one()
    assert seen <= {
        grpc.StatusCode.OK,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.UNIMPLEMENTED,
    }
    still_serves(run, server)


@pytest.mark.parametrize("method", METHODS)
def test_any_bytes(served: tuple[Run, Served], method: str) -> None:
    run, server = served
    service = "DiscoveryService" if method.startswith("Get") else "InferenceService"

    @given(st.binary(max_size=64))
    def try_one(raw: bytes) -> None:
        path = f"/moesaic.v1.{service}/{method}"
        if method.endswith("Stream"):  # read to its end as one
            code = outcome(run, drained(server, path, raw))
        else:
            code = outcome(run, raw_call(server, path, raw))
        assert code in CANONICAL, code

    try_one()
    still_serves(run, server)


async def drained(server: Served, path: str, raw: bytes) -> None:
    channel: Any = server.channel
    async for _ in channel.unary_stream(path)(raw, timeout=PATIENCE_S):
        continue


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["authorization", "x-request-id", "x-other", "traceparent", "grpc-tags-bin"]),
            st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=200),
        ),
        max_size=4,
    )
)
def test_any_metadata(served: tuple[Run, Served], metadata: list[tuple[str, str]]) -> None:
    run, server = served
    pairs = [(key, value.encode() if key.endswith("-bin") else value) for key, value in metadata]
    assert outcome(run, server.call("Generate", generate(), metadata=pairs)) in CANONICAL
