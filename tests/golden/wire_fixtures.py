"""Write tests/v1/fixtures.json anew: one message of every type, with every field set, as JSON and as bytes.

Bytes that are there already are kept: they stand for what earlier versions sent, and must be read for ever. Only types
and fields that they lack are added.

    python -m tests.golden.wire_fixtures
"""

import json
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from moesaic import v1

__all__ = ["FIXTURES", "full", "message_types"]

FIXTURES = Path(__file__).resolve().parent.parent / "v1" / "fixtures.json"

_DEPTH = 3
_VALUES: dict[int, Any] = {
    FieldDescriptor.TYPE_DOUBLE: 0.375,
    FieldDescriptor.TYPE_FLOAT: -0.25,
    FieldDescriptor.TYPE_BOOL: True,
    FieldDescriptor.TYPE_STRING: "叶 leaf 🌿",
}


def message_types() -> dict[str, type[Message]]:
    """Every message of the contract, by name."""
    return {name: kind for name in v1.__all__ if isinstance(kind := getattr(v1, name), type)}


def full(kind: type[Message], member: int = 0, depth: int = _DEPTH) -> Message:
    """A message with every field set; of each oneof the one at `member`."""
    message = kind()
    for field in message.DESCRIPTOR.fields:
        oneof = field.containing_oneof
        if oneof is not None and oneof.fields[member % len(oneof.fields)] is not field:
            continue
        if field.message_type is None:
            value = _VALUES.get(field.type, 1 if field.enum_type is not None else 100 + field.number)
            if field.is_repeated:
                getattr(message, field.name).extend([value, value])
            else:
                setattr(message, field.name, value)
        elif depth:
            inner = full(message_types()[field.message_type.name], member, depth - 1)
            if field.is_repeated:
                getattr(message, field.name).add().CopyFrom(inner)
            else:
                getattr(message, field.name).CopyFrom(inner)
    return message


def members(kind: type[Message]) -> int:
    """How many messages it takes to set each field of each oneof."""
    return max([1, *(len(oneof.fields) for oneof in kind.DESCRIPTOR.oneofs)])


def main() -> None:
    """Add what is missing."""
    kept = json.loads(FIXTURES.read_text(encoding="utf-8")) if FIXTURES.exists() else []
    known = {(each["type"], each["hex"]) for each in kept}
    for name, kind in sorted(message_types().items()):
        for member in range(members(kind)):
            message = full(kind, member)
            raw = message.SerializeToString(deterministic=True).hex()
            if (name, raw) not in known:
                content = json_format.MessageToDict(message, preserving_proto_field_name=True)
                kept.append({"type": name, "content": content, "hex": raw})
    FIXTURES.write_text(json.dumps(kept, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
