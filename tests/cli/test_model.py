"""`moesaic model`: what each verb makes and says, and how it refuses what it cannot do."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from moesaic.artifact import ArtifactWriter, ModelArtifact
from tests.cli.running import assert_nothing_left, edit_json, refusal, run

EXPERTS = ("--experts", 2, "--experts-last", 4, "--last", 1)


@pytest.fixture
def artifact(moe: Path, tmp_path: Path) -> Path:
    """A copy of the GPT-MoE that a test may damage."""
    return Path(shutil.copytree(moe, tmp_path / "moe"))


def report(*words: object) -> dict[str, Any]:
    """Run a verb with `--json`, whose standard output must be JSON and nothing else."""
    outcome = run(*words, "--json")
    assert outcome.code == 0, outcome
    found: dict[str, Any] = json.loads(outcome.stdout)
    return found


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) * 3 // 4] ^= 1
    path.write_bytes(content)


# ---------------------------------------------------------------- what the verbs do


def test_the_whole_way_in_json(base: Path, tmp_path: Path) -> None:
    made = report("model", "upcycle", base, tmp_path / "moe", *EXPERTS)
    assert made["architecture"]["experts_per_layer"] == [0, 2, 0, 4]
    assert made["lineage"]["options"]["experts_last"] == 4
    assert made["architecture"]["dtype"] == "bfloat16"

    rounded = report("model", "quantize", tmp_path / "moe", tmp_path / "int8", "--scheme", "int8")
    assert rounded["quantization"]["scheme"] == "int8"
    assert rounded["lineage"]["parent"] == made["digest"]
    assert rounded["weights_bytes"] < made["weights_bytes"]
    assert report("model", "info", tmp_path / "int8") == rounded

    verified = report("model", "verify", tmp_path / "int8")
    assert verified["digest"] == rounded["digest"]
    assert verified["canary_difference"] < 1e-5
    assert report("model", "verify", tmp_path / "int8", "--no-weights")["canary_difference"] is None


def test_info_shows_what_a_person_asks_for(moe: Path) -> None:
    outcome = run("model", "info", moe)
    assert outcome.code == 0
    for words in (
        "GPTMoEForCausalLM, 4 layers, context 256",
        "2 of 4 layers",
        "1 with 2 experts",
        "float32",
        "upcycle",
    ):
        assert words in outcome.stdout


def test_pack_keeps_a_dense_model(base: Path, tmp_path: Path) -> None:
    outcome = run("model", "pack", base, tmp_path / "dense", "--dtype", "float32")
    assert outcome.code == 0
    assert "none (dense)" in outcome.stdout
    assert run("model", "verify", tmp_path / "dense").stdout.startswith("sound: ")


def test_overwrite_replaces_an_artifact_and_nothing_else(base: Path, artifact: Path, tmp_path: Path) -> None:
    before = ModelArtifact.open(artifact).digest
    message = refusal(2, "model", "upcycle", base, artifact, *EXPERTS)
    assert "exists already" in message
    assert "overwrite" in message
    assert ModelArtifact.open(artifact).digest == before
    assert run("model", "upcycle", base, artifact, *EXPERTS, "--overwrite").code == 0
    assert ModelArtifact.open(artifact).digest != before

    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    assert "not a model artifact" in refusal(2, "model", "upcycle", base, mine, "--overwrite")
    assert (mine / "thesis.txt").read_text() == "years of work"


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--experts", 0], ["0", "at least 1"]),
        (["--experts-last", -3], ["-3", "at least 1"]),
        (["--last", -1], ["-1", "at least 0"]),
        (["--interval", 0], ["interval=0", "at least 1"]),
        (["--offset", 7], ["offset=7", "below the interval"]),
        (["--drop-ratio", "nan"], ["drop_ratio=nan", "between 0"]),
        (["--drop-ratio", 1.5], ["drop_ratio=1.5", "between 0"]),
        (["--noise", "inf"], ["noise=inf", "finite"]),
        (["--router-std", -1], ["router_std=-1.0", "at least 0"]),
        (["--coefficient-bias", "nan"], ["coefficient_bias=nan", "-20 and 20"]),
        (["--seed", 2**70], [str(2**70), "2**63 - 1"]),
        (["--dtype", "float8"], ["float8", "bfloat16", "float32"]),
        (["--revision", "main"], ["main", "hub ids"]),
    ],
    ids=str,
)
def test_absurd_options_of_upcycling_are_refused(
    base: Path, tmp_path: Path, words: list[object], parts: list[str]
) -> None:
    message = refusal(2, "model", "upcycle", base, tmp_path / "out", *words)
    assert [part for part in parts if part not in message] == [], message
    assert_nothing_left(tmp_path / "out")


def test_an_unknown_scheme_names_the_known_ones(moe: Path, tmp_path: Path) -> None:
    message = refusal(2, "model", "quantize", moe, tmp_path / "out", "--scheme", "int3")
    assert [word for word in ("int3", "int8", "int8-experts", "int4") if word not in message] == []
    assert_nothing_left(tmp_path / "out")


def test_a_quantized_artifact_is_not_quantized_again(moe: Path, tmp_path: Path) -> None:
    assert run("model", "quantize", moe, tmp_path / "int4", "--scheme", "int4").code == 0
    assert "already quantized" in refusal(2, "model", "quantize", tmp_path / "int4", tmp_path / "out")


@pytest.mark.parametrize("reference", ["nowhere", "", "package:no_such_package_here", "no-one/no-such-model"])
def test_a_base_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: str) -> None:
    monkeypatch.chdir(tmp_path)
    code = 5 if reference.startswith("package:") else 2
    message = refusal(code, "model", "upcycle", reference, "out")
    assert reference in message
    assert_nothing_left(tmp_path / "out")


# ---------------------------------------------------------------- artifacts


def commit_again(artifact: Path, target: Path) -> Path:
    """An artifact of the same files with digests that match: what someone makes who edits one by hand."""
    old = ModelArtifact.open(artifact).manifest
    with ArtifactWriter(target) as writer:
        for record in old.files:
            shutil.copyfile(artifact / record.name, writer.folder / record.name)
        edit_json(writer.folder / "config.json", moe_intermediate_size=64)
        writer.commit(
            name="edited",
            architecture=old.architecture,
            lineage=old.lineage,
            licence=old.licence,
            canary=old.canary,
        )
    return target


def test_experts_of_another_width_than_the_residual_are_refused(moe: Path, tmp_path: Path) -> None:
    edited = commit_again(moe, tmp_path / "edited")
    for words in (["verify", edited], ["quantize", edited, tmp_path / "out"]):
        message = refusal(2, "model", *words)
        assert "moe_intermediate_size=64" in message
        assert "96" in message
    assert_nothing_left(tmp_path / "out")


def test_verify_names_the_file_with_one_flipped_bit(artifact: Path) -> None:
    flip_a_byte(artifact / "model.safetensors")
    for words in (["verify", artifact], ["verify", artifact, "--no-weights"], ["quantize", artifact, f"{artifact}-8"]):
        message = refusal(3, "model", *words)
        assert "DamagedArtifactError" in message
        assert "model.safetensors" in message


def test_verify_finds_weights_that_are_sound_but_wrong(moe: Path, tmp_path: Path) -> None:
    old = ModelArtifact.open(moe).manifest
    assert old.canary is not None
    with ArtifactWriter(tmp_path / "wrong") as writer:
        for record in old.files:
            shutil.copyfile(moe / record.name, writer.folder / record.name)
        negate_the_final_norm(writer.folder / "model.safetensors")
        writer.commit(
            name="wrong", architecture=old.architecture, lineage=old.lineage, licence=old.licence, canary=old.canary
        )
    assert "CanaryError" in refusal(3, "model", "verify", tmp_path / "wrong")
    assert run("model", "verify", tmp_path / "wrong", "--no-weights").code == 0


def negate_the_final_norm(path: Path) -> None:
    tensors = load_file(path)
    tensors["model.norm.weight"] *= -1
    save_file(tensors, path, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        (lambda folder: (folder / "moesaic.json").write_bytes((folder / "moesaic.json").read_bytes()[:200]), "moesaic"),
        (lambda folder: (folder / "moesaic.json").write_text("[]"), "moesaic"),
        (lambda folder: (folder / "moesaic.json").unlink(), "moesaic.json"),
        (lambda folder: edit_json(folder / "moesaic.json", format_version=99), "99"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"short"), "model.safetensors"),
        (lambda folder: (folder / "extra.safetensors").write_bytes(b"stray"), "extra.safetensors"),
    ],
    ids=["truncated", "list", "gone", "version", "file gone", "file short", "stray"],
)
def test_every_verb_refuses_a_damaged_artifact(artifact: Path, damage: Callable[[Path], object], name: str) -> None:
    damage(artifact)
    for words in (["info", artifact], ["verify", artifact], ["quantize", artifact, f"{artifact}-8"]):
        message = refusal(3, "model", *words)
        assert name in message
    assert_nothing_left(artifact.with_name("moe-8"))


def test_a_folder_that_is_no_artifact(base: Path, tmp_path: Path) -> None:
    assert "moesaic.json" in refusal(3, "model", "info", base)
    assert str(tmp_path / "nothing") in refusal(2, "model", "info", tmp_path / "nothing")
