"""`moesaic registry`: publishing, listing, going back; and what is refused."""

import json
from pathlib import Path

import pytest

from moesaic.artifact import ModelArtifact
from tests.artifact.builders import build
from tests.cli.running import refusal, run


@pytest.fixture
def artifacts(tmp_path: Path) -> list[ModelArtifact]:
    return [build(tmp_path / f"artifact-{number}", name=f"模型 {number}") for number in range(2)]


def test_publish_list_and_go_back(tmp_path: Path, artifacts: list[ModelArtifact]) -> None:
    place = tmp_path / "registry"
    versions = []
    for artifact in artifacts:
        outcome = run("registry", "publish", place, artifact.folder, "--note", "试验", "--json")
        assert outcome.code == 0
        versions.append(json.loads(outcome.stdout)["version"])
    listed = json.loads(run("registry", "list", place, "--json").stdout)
    assert {row["version"]: row["current"] for row in listed} == {versions[0]: False, versions[1]: True}
    assert {row["name"] for row in listed} == {"模型 0", "模型 1"}
    assert versions[1] in run("registry", "list", place).stdout
    assert run("registry", "rollback", place, "--note", "worse").stdout == f"version {versions[0]} is current again\n"
    told = json.loads(run("registry", "history", place, "--json").stdout)
    assert [event["verb"] for event in told] == ["published", "published", "rolled back"]
    assert told[-1]["facts"] == {"note": "worse"}
    text = run("registry", "history", place).stdout
    assert text.count("\n") == 3
    assert "note 试验" in text


def test_what_is_refused(tmp_path: Path, artifacts: list[ModelArtifact]) -> None:
    place = tmp_path / "registry"
    assert "no model registry" in refusal(3, "registry", "list", tmp_path)
    run("registry", "publish", place, artifacts[0].folder)
    assert "none before" in refusal(2, "registry", "rollback", place)
    assert "versions begin so" in refusal(2, "registry", "rollback", place, "zz")
    weights = artifacts[1].folder / "model.safetensors"
    weights.write_bytes(bytes(weights.stat().st_size))
    assert "altered" in refusal(3, "registry", "publish", place, artifacts[1].folder)
