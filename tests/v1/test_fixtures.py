"""Messages as earlier versions wrote them are read to the same content, and today's code writes the same bytes."""

import json
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.unknown_fields import UnknownFieldSet

from moesaic import v1
from tests.golden.wire_fixtures import FIXTURES, message_types

RECORDED: list[dict[str, Any]] = json.loads(FIXTURES.read_text(encoding="utf-8"))


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded["type"])
def test_recorded_bytes_mean_what_they_meant(recorded: dict[str, Any]) -> None:
    kind = message_types()[recorded["type"]]
    raw = bytes.fromhex(recorded["hex"])
    read = kind.FromString(raw)
    assert json_format.MessageToDict(read, preserving_proto_field_name=True) == recorded["content"]
    assert read == json_format.ParseDict(recorded["content"], kind())
    assert len(UnknownFieldSet(read)) == 0
    assert read.SerializeToString(deterministic=True) == raw


def test_every_field_of_every_message_is_recorded() -> None:
    recorded: dict[str, set[str]] = {name: set() for name in message_types()}
    for each in RECORDED:
        recorded[each["type"]] |= set(each["content"])
    assert recorded == {name: set(kind.DESCRIPTOR.fields_by_name) for name, kind in message_types().items()}


def test_what_a_newer_version_adds_does_no_harm() -> None:
    """Unknown fields and unknown values of enums are read, kept and passed on."""
    raw = v1.GenerateRequest(model="m").SerializeToString() + bytes.fromhex("fa7f03616263")
    read = v1.GenerateRequest.FromString(raw)
    assert read.model == "m"
    assert read.SerializeToString() == raw
    message = v1.ChatMessage.FromString(bytes.fromhex("0863"))
    assert message.role == 99


def test_nothing_set_is_not_zero_set() -> None:
    """Zero has a meaning wherever a field is optional."""
    assert not v1.SamplingParameters().HasField("temperature")
    zero = v1.SamplingParameters.FromString(v1.SamplingParameters(temperature=0.0, seed=0).SerializeToString())
    assert (zero.HasField("temperature"), zero.HasField("seed"), zero.HasField("top_p")) == (True, True, False)
