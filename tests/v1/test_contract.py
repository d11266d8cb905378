"""The wire contract keeps buf's STANDARD rules and its comments, and the generated code is that of the .proto files."""

import re
from collections.abc import Iterator
from pathlib import Path

import grpc_tools  # type: ignore[import-untyped]
import pytest
from google.protobuf import descriptor_pb2
from grpc_tools import protoc

from moesaic import v1
from moesaic.v1 import discovery_pb2, generation_pb2, inference_pb2
from tests.repository import ROOT

FOLDER = ROOT / "moesaic" / "v1"
MODULES = {"discovery": discovery_pb2, "generation": generation_pb2, "inference": inference_pb2}
SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
PASCAL = re.compile(r"([A-Z][a-z0-9]*)+")

File = descriptor_pb2.FileDescriptorProto
Message = descriptor_pb2.DescriptorProto


def compiled(folder: Path, *names: str) -> descriptor_pb2.FileDescriptorSet:
    """Descriptors of .proto files below a folder, with their comments."""
    target = folder / "compiled.binpb"
    own = Path(grpc_tools.__file__).parent / "_proto"
    words = [f"-I{folder}", f"-I{own}", "--include_source_info", f"--descriptor_set_out={target}", *names]
    assert protoc.main(["protoc", *words]) == 0
    content = target.read_bytes()
    target.unlink()
    return descriptor_pb2.FileDescriptorSet.FromString(content)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, File]:
    """The .proto files, compiled."""
    folder = tmp_path_factory.mktemp("proto")
    (folder / "moesaic").mkdir()
    (folder / "moesaic" / "v1").symlink_to(FOLDER)
    names = [f"moesaic/v1/{path.name}" for path in sorted(FOLDER.glob("*.proto"))]
    return {Path(file.name).stem: file for file in compiled(folder, *names).file}


def all_messages(file: File) -> Iterator[Message]:
    open_messages = list(file.message_type)
    while open_messages:
        message = open_messages.pop()
        yield message
        open_messages += message.nested_type


def faults(files: dict[str, File]) -> Iterator[str]:
    """What breaks a rule."""
    for file in files.values():
        if file.package != "moesaic.v1":
            yield f"{file.name}: package {file.package}"
        if not file.name.startswith("moesaic/v1/") or not SNAKE.fullmatch(Path(file.name).stem):
            yield f"{file.name}: its path is not that of its package"
        yield from message_faults(file)
        yield from enum_faults(file)
        yield from (f"{file.name}: no comment at {path}" for path in uncommented(file))
    yield from service_faults(files)


def service_faults(files: dict[str, File]) -> Iterator[str]:
    """Names of services, and of what their methods take and give: each message serves one method."""
    used: list[str] = []
    for service in (service for file in files.values() for service in file.service):
        if not service.name.endswith("Service"):
            yield f"{service.name} does not end in Service"
        for method in service.method:
            for kind, given in (("Request", method.input_type), ("Response", method.output_type)):
                used.append(given)
                if given != f".moesaic.v1.{method.name}{kind}":
                    yield f"{method.name} takes or gives {given}"
    yield from (f"{name} is used twice" for name in sorted(set(used)) if used.count(name) > 1)


def message_faults(file: File) -> Iterator[str]:
    """Names of messages and fields."""
    for message in all_messages(file):
        if not PASCAL.fullmatch(message.name):
            yield f"message {message.name} is not in PascalCase"
        yield from (f"{message.name}.{f.name}" for f in message.field if not SNAKE.fullmatch(f.name))
        yield from (f"oneof {o.name}" for o in message.oneof_decl if not SNAKE.fullmatch(o.name.removeprefix("_")))


def enum_faults(file: File) -> Iterator[str]:
    """Names of values."""
    for enum in [*file.enum_type, *(inner for message in all_messages(file) for inner in message.enum_type)]:
        prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum.name).upper() + "_"
        if enum.value[0].number != 0 or enum.value[0].name != f"{prefix}UNSPECIFIED":
            yield f"{enum.name} does not begin with {prefix}UNSPECIFIED"
        yield from (f"{value.name} of {enum.name}" for value in enum.value if not value.name.startswith(prefix))


def uncommented(file: File) -> Iterator[str]:
    """Paths (by field number and index) of messages, fields, enums, values, services and methods without comment."""
    numbers = {4: "message_type", 5: "enum_type", 6: "service"}
    inner = {4: {2: "field", 3: "nested_type", 4: "enum_type"}, 5: {2: "value"}, 6: {2: "method"}}
    for location in file.source_code_info.location:
        path = tuple(location.path)
        element = len(path) == 2 and path[0] in numbers
        part = len(path) == 4 and path[0] in numbers and path[2] in inner[path[0]]
        if (element or part) and not location.leading_comments.strip():
            yield str(path)


def test_every_rule_is_kept(files: dict[str, File]) -> None:
    assert set(files) == set(MODULES)
    assert list(faults(files)) == []


BROKEN = {
    "package": ("package moesaic.v2;", "package"),
    "service": ("// C.\nservice Guess { // C.\n rpc A(ARequest) returns (AResponse);\n}", "end in Service"),
    "request": ("// C.\nservice AService {\n // C.\n rpc B(ARequest) returns (AResponse);\n}", "takes or gives"),
    "twice": (
        "// C.\nservice AService {\n // C.\n rpc A(ARequest) returns (AResponse);\n}\n"
        "// C.\nservice BService {\n // C.\n rpc A(ARequest) returns (AResponse);\n}",
        "used twice",
    ),
    "message": ("// C.\nmessage lower {}", "PascalCase"),
    "field": ("// C.\nmessage M {\n // C.\n string someText = 1;\n}", "someText"),
    "zero": ("// C.\nenum Kind {\n // C.\n KIND_NONE = 0;\n}", "KIND_UNSPECIFIED"),
    "prefix": ("// C.\nenum Kind {\n // C.\n KIND_UNSPECIFIED = 0;\n // C.\n OTHER = 1;\n}", "OTHER of Kind"),
    "comment": ("message M {}", "no comment"),
    "field comment": ("// C.\nmessage M {\n string a = 1;\n}", "no comment"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_breach_is_found(tmp_path: Path, name: str) -> None:
    source, fault = BROKEN[name]
    package = "" if name == "package" else "package moesaic.v1;\n"
    common = "// C.\nmessage ARequest {}\n// C.\nmessage AResponse {}\n"
    (tmp_path / "moesaic" / "v1").mkdir(parents=True)
    (tmp_path / "moesaic" / "v1" / "some.proto").write_text(f'syntax = "proto3";\n{package}{source}\n{common}')
    found = list(faults({"some": compiled(tmp_path, "moesaic/v1/some.proto").file[0]}))
    assert any(fault in each for each in found), found


@pytest.mark.parametrize("name", MODULES)
def test_the_generated_code_is_current(files: dict[str, File], name: str) -> None:
    generated, written = File.FromString(MODULES[name].DESCRIPTOR.serialized_pb), File()
    written.CopyFrom(files[name])
    written.ClearField("source_code_info")
    for field in (field for message in all_messages(written) for field in message.field):
        field.ClearField("json_name")  # the compiler notes it only in files of descriptors
    assert generated == written, "run `make proto`"


def test_it_is_generated_with_the_lowest_supported_tools() -> None:
    """Generated code refuses a runtime older than its generator."""
    lowest = re.search(r'"grpcio>=([\d.]+),', (ROOT / "pyproject.toml").read_text())
    assert lowest is not None
    for path in sorted(FOLDER.glob("*_pb2_grpc.py")):
        version = re.search(r"^GRPC_GENERATED_VERSION = '([\d.]+)'$", path.read_text(), re.MULTILINE)
        assert version is not None
        assert version[1].startswith(lowest[1]), path.name
    tools = re.search(r"grpcio-tools==([\d.]+)", (ROOT / "Makefile").read_text())
    assert tools is not None
    assert tools[1].startswith(lowest[1])
    floor = re.search(r'"protobuf>=([\d.]+),', (ROOT / "pyproject.toml").read_text())
    assert floor is not None
    for path in sorted(FOLDER.glob("*_pb2.py")):
        runtime = re.search(r"^# Protobuf Python Version: ([\d.]+)$", path.read_text(), re.MULTILINE)
        assert runtime is not None
        assert tuple(map(int, runtime[1].split("."))) <= tuple(map(int, floor[1].split("."))), path.name


def test_everything_is_at_hand() -> None:
    names: set[str] = set()
    for module in MODULES.values():
        names |= {*module.DESCRIPTOR.message_types_by_name, *module.DESCRIPTOR.enum_types_by_name}
    assert set(v1.__all__) == names
    assert all(hasattr(v1, name) for name in names)
