"""The manifest: its text, its digest, and what it refuses."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.artifact import FORMAT_VERSION, ArchitectureFacts, ExpertProbe, FileRecord, Licence, Lineage, Manifest
from moesaic.errors import ArtifactError, DamagedArtifactError, ForeignArtifactError, InputError
from tests.artifact.builders import ARCHITECTURE, CANARY, FACTS, FILES, LINEAGE, QUANTIZATION

RECORDS = tuple(
    FileRecord(name=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    for name, content in FILES.items()
)
MANIFEST = Manifest(files=RECORDS, **FACTS)
PROBE = ExpertProbe(layer=1, seed=1, tokens=(7,), outputs=((1.0, -2.0),), threshold=0.02)
TEXT = MANIFEST.to_text().encode()

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = st.text("abc模型-_ .", min_size=1, max_size=6).filter(lambda name: name not in (".", ".."))
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
records = st.builds(FileRecord, name=names, bytes=st.integers(0, 2**50), sha256=digests)
lineages = st.builds(
    Lineage,
    operation=texts,
    base=texts,
    parent=st.none() | digests,
    options=st.dictionaries(
        texts, st.integers() | texts | st.booleans() | st.lists(st.integers(), max_size=3), max_size=3
    ),
    created=st.datetimes().map(lambda time: time.replace(microsecond=0).isoformat() + "Z"),
    moesaic_version=texts,
    ancestors=st.just((LINEAGE,)) | st.just(()),
)
manifests = st.builds(
    Manifest,
    name=texts.filter(str.strip),
    files=st.lists(records, min_size=1, max_size=4, unique_by=lambda record: record.name),
    architecture=st.just(ARCHITECTURE),
    quantization=st.none() | st.just(QUANTIZATION),
    lineage=lineages,
    licence=st.builds(Licence, name=st.none() | texts, file=st.none()),
    metrics=st.dictionaries(texts, st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 99), max_size=3),
    canary=st.none() | st.just(CANARY) | st.just(replace(CANARY, probes=(PROBE,))),
)


@given(manifests)
def test_the_text_gives_the_same_manifest_and_digest_back(manifest: Manifest) -> None:
    again = Manifest.from_text(manifest.to_text().encode())
    assert again == manifest
    assert again.digest == manifest.digest
    assert again.to_text() == manifest.to_text()


@given(manifests, manifests)
def test_the_digest_tells_manifests_apart(one: Manifest, other: Manifest) -> None:
    if one.digest == other.digest:  # the converse fails for True and 1, which Python takes for equal
        assert one == other


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"files": RECORDS[::-1]},
        {"architecture": replace(ARCHITECTURE, context_length=129)},
        {"quantization": None},
        {"lineage": replace(LINEAGE, options={})},
        {"licence": Licence(name=None, file=None)},
        {"metrics": {"perplexity": 12.500000000000002}},
        {"canary": replace(CANARY, threshold=0.2)},
    ],
)
def test_the_digest_covers_every_part(changes: dict[str, Any]) -> None:
    assert replace(MANIFEST, **changes).digest != MANIFEST.digest


def test_the_digest_does_not_depend_on_the_order_of_keys() -> None:
    options = dict(sorted(LINEAGE.options.items()))
    assert list(options) != list(LINEAGE.options)
    assert replace(MANIFEST, lineage=replace(LINEAGE, options=options)).digest == MANIFEST.digest


def test_the_digest_is_the_documented_one() -> None:
    value = json.loads(TEXT)
    recorded = value.pop("digest")
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    assert recorded == MANIFEST.digest == hashlib.sha256(canonical.encode()).hexdigest()


def test_the_text_is_readable_json() -> None:
    value = json.loads(TEXT)
    assert value["format_version"] == FORMAT_VERSION
    assert [item["name"] for item in value["files"]] == list(FILES)
    assert "小模型" in TEXT.decode()


@given(st.integers(0, len(TEXT) - 1), st.integers(0, 255))
def test_an_altered_byte_is_noticed(index: int, byte: int) -> None:
    altered = TEXT[:index] + bytes([byte]) + TEXT[index + 1 :]
    try:
        manifest = Manifest.from_text(altered)
    except ArtifactError:
        return

    assert manifest == MANIFEST  # a blank for another blank


@given(st.integers(0, len(TEXT.rstrip()) - 1))
def test_a_truncated_text_is_damaged(length: int) -> None:
    with pytest.raises(DamagedArtifactError, match=r"moesaic.json is truncated or altered"):
        Manifest.from_text(TEXT[:length])


@given(st.binary(max_size=50))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(ArtifactError):
        Manifest.from_text(noise)


def test_altered_content_is_named_with_both_digests() -> None:
    other = replace(MANIFEST, metrics={"perplexity": 11.5})
    with pytest.raises(DamagedArtifactError, match=rf"{other.digest}, it records .*{MANIFEST.digest[-9:]}"):
        Manifest.from_text(TEXT.replace(b"12.5", b"11.5"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda value: value.update(format_version=FORMAT_VERSION + 1), "upgrade Moesaic"),
        (lambda value: value.update(format_version=2, files="in another form"), "upgrade Moesaic"),
        (lambda value: value.update(format_version=0), "not a Moesaic manifest"),
        (lambda value: value.update(format_version=True), "not a Moesaic manifest"),
        (lambda value: value.update(format_version="1"), "not a Moesaic manifest"),
        (lambda value: value.pop("format_version"), "not a Moesaic manifest"),
        (lambda value: value.pop("digest"), "not a Moesaic manifest"),
        (lambda value: value.update(extra=1), "unknown keys"),
        (lambda value: value.pop("canary"), "lacks the keys"),
        (lambda value: value["files"][0].update(mode=1), "unknown keys"),
        (lambda value: value["architecture"].update(hidden_size="8"), "hidden_size"),
        (lambda value: value.update(files=[]), "a file or more"),
        (lambda value: value["files"].append(value["files"][0]), "once each"),
    ],
)
def test_a_foreign_manifest_is_refused(change: Callable[[dict[str, Any]], object], message: str) -> None:
    value = json.loads(TEXT)
    change(value)
    with pytest.raises(ForeignArtifactError, match=message):
        Manifest.from_text(json.dumps(value).encode())


@pytest.mark.parametrize("text", [b"[]", b"null", b"1", b'"text"', b"{}"])
def test_json_of_another_program_is_foreign(text: bytes) -> None:
    with pytest.raises(ForeignArtifactError):
        Manifest.from_text(text)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        TEXT.replace(b'"name": "tiny', b'"name": "x", "name": "tiny'),
    ],
)
def test_unreadable_json_is_damaged(text: bytes) -> None:
    with pytest.raises(DamagedArtifactError):
        Manifest.from_text(text)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_refused(number: str) -> None:
    with pytest.raises(ForeignArtifactError, match="finite"):
        Manifest.from_text(TEXT.replace(b"12.5", number.encode()))


def test_a_deeply_nested_manifest_is_refused() -> None:
    value = json.loads(TEXT)
    inner = value["lineage"]
    for _ in range(150):
        inner["ancestors"] = [{**LINEAGE.to_json()}]
        inner = inner["ancestors"][0]

    with pytest.raises(ArtifactError):
        Manifest.from_text(json.dumps(value).encode())


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a//b",
        "a/",
        "./a",
        "a\\b",
        "a\nb",
        "a\0b",
        "moesaic.json",
        "~\x7f",
    ],
)
def test_an_unsafe_file_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="is refused"):
        FileRecord(name=name, bytes=1, sha256="0" * 64)


@pytest.mark.parametrize(
    "name", ["a", "sub/a.json", "..a", "模型.safetensors", "with blank", ".hidden", "sub/moesaic.json"]
)
def test_a_plain_file_name_is_accepted(name: str) -> None:
    assert FileRecord(name=name, bytes=0, sha256="0" * 64).name == name


@pytest.mark.parametrize("digest", ["", "0" * 63, "0" * 65, "G" * 64, "A" * 64])
def test_a_malformed_digest_is_refused(digest: str) -> None:
    with pytest.raises(InputError, match="sha256"):
        FileRecord(name="a", bytes=0, sha256=digest)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": " "},
        {"files": ()},
        {"files": (RECORDS[0], RECORDS[0])},
        {"licence": Licence(name=None, file="absent.txt")},
        {"canary": replace(CANARY, sequences=((1, 2, 64), (4, 5)))},
        {"canary": replace(CANARY, probes=(replace(PROBE, layer=2),))},
        {"canary": replace(CANARY, probes=(replace(PROBE, layer=9),))},
        {"format_version": 2},
        {"metrics": {"a": float("nan")}},
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        replace(MANIFEST, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"parameters_active": 1001},
        {"parameters_total": 0},
        {"num_hidden_layers": 0},
        {"experts_per_layer": (0, 4)},
        {"experts_per_layer": (0, 4, 0, -1)},
    ],
)
def test_impossible_facts_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        replace(ARCHITECTURE, **changes)


def test_a_dense_model_needs_no_expert_counts() -> None:
    facts: ArchitectureFacts = replace(ARCHITECTURE, experts_per_layer=())
    assert facts.experts_per_layer == ()


@pytest.mark.parametrize("bits", [0, 33])
def test_impossible_bits_are_refused(bits: int) -> None:
    with pytest.raises(InputError, match=rf"weight_bits must be from 1 to 32, got {bits}"):
        replace(QUANTIZATION, weight_bits=bits)


@pytest.mark.parametrize(
    "created",
    [
        "",
        "2026-02-03",
        "2026-02-03T04:05:06",
        "2026-02-30T04:05:06Z",
        "2026-02-03T04:05:06.5Z",
        "2026-02-03T04:05:06+08:00",
    ],
)
def test_a_time_that_is_not_utc_seconds_is_refused(created: str) -> None:
    with pytest.raises(InputError, match="UTC"):
        replace(LINEAGE, created=created)


def test_ancestors_are_a_flat_list_nearest_first() -> None:
    lineage = LINEAGE
    for generation in range(300):
        lineage = replace(LINEAGE, operation=f"refresh {generation}", ancestors=(lineage,))

    operations = [item.operation for item in lineage.ancestors]
    assert operations == [f"refresh {generation}" for generation in range(298, -1, -1)] + ["upcycle"]
    assert not any(item.ancestors for item in lineage.ancestors)
    manifest = replace(MANIFEST, lineage=lineage)
    assert Manifest.from_text(manifest.to_text().encode()) == manifest
