"""Opening, reading and verifying an artifact; everything that is refused, and by which name."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.artifact import MANIFEST_NAME, ModelArtifact
from moesaic.artifact import folder as folder_module
from moesaic.errors import DamagedArtifactError, ForeignArtifactError, InputError
from tests.artifact.builders import FILES, build


@pytest.fixture
def artifact(tmp_path: Path) -> ModelArtifact:
    return build(tmp_path / "model")


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> ModelArtifact:
    """One artifact for many examples; each leaves it as it was."""
    return build(tmp_path_factory.mktemp("lasting") / "model")


def test_a_sound_artifact_opens_and_verifies(artifact: ModelArtifact) -> None:
    opened = ModelArtifact.open(artifact.folder)
    assert opened == artifact
    assert opened.digest == artifact.manifest.digest
    assert {record.name: record.bytes for record in opened.manifest.files} == {n: len(c) for n, c in FILES.items()}
    opened.verify()


def test_opening_takes_text_relative_paths_and_links(artifact: ModelArtifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(artifact.folder.parent)
    Path("current").symlink_to("model")
    for given_path in ("model", "model/", "./model/../model", "current", Path("current")):
        assert ModelArtifact.open(given_path).folder == artifact.folder


def test_a_copied_artifact_is_the_same_artifact(artifact: ModelArtifact, tmp_path: Path) -> None:
    shutil.copytree(artifact.folder, tmp_path / "副本")
    copy = ModelArtifact.open(tmp_path / "副本")
    copy.verify()
    assert copy.digest == artifact.digest


def test_paths_and_configuration(artifact: ModelArtifact) -> None:
    assert artifact.path("model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert artifact.config() == {"model_type": "gpt_moe", "note": "领域模型"}
    for name in ("absent", "../model/config.json", MANIFEST_NAME, ""):
        with pytest.raises(InputError, match="is not a file of the artifact"):
            artifact.path(name)


def test_files_in_subfolders_are_part_of_it(tmp_path: Path) -> None:
    files = {**FILES, "additional_chat_templates/tool.jinja": b"{{ messages }}"}
    artifact = build(tmp_path / "model", files)
    ModelArtifact.open(artifact.folder).verify()
    artifact.path("additional_chat_templates/tool.jinja").write_bytes(b"{{ massages }}")
    with pytest.raises(DamagedArtifactError, match=r"tool.jinja was altered"):
        artifact.verify()


@given(name=st.sampled_from(sorted(FILES)), data=st.data())
def test_any_altered_byte_is_found_by_name(lasting: ModelArtifact, name: str, data: st.DataObject) -> None:
    path = lasting.path(name)
    content = path.read_bytes()
    index = data.draw(st.integers(0, len(content) - 1))
    flipped = content[index] ^ data.draw(st.integers(1, 255))
    path.write_bytes(content[:index] + bytes([flipped]) + content[index + 1 :])
    try:
        ModelArtifact.open(lasting.folder)  # the size is the same, so opening cannot know
        with pytest.raises(DamagedArtifactError, match=rf"1 of 3 files of .*{name} was altered"):
            lasting.verify()
    finally:
        path.write_bytes(content)

    lasting.verify()


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("size", [0, 1, -1, 1_000_000])
def test_another_size_is_refused_on_opening(artifact: ModelArtifact, name: str, size: int) -> None:
    os.truncate(artifact.path(name), size if size >= 0 else len(FILES[name]) + size)
    with pytest.raises(DamagedArtifactError, match=rf"{name} has \d+ bytes instead of {len(FILES[name])}"):
        ModelArtifact.open(artifact.folder)

    with pytest.raises(DamagedArtifactError, match=name):
        artifact.verify()


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_file_is_named(artifact: ModelArtifact, name: str) -> None:
    artifact.path(name).unlink()
    with pytest.raises(DamagedArtifactError, match=f"{name} is missing"):
        ModelArtifact.open(artifact.folder)

    with pytest.raises(DamagedArtifactError, match=f"{name} is missing"):
        artifact.verify()


def test_all_damaged_files_are_named(artifact: ModelArtifact) -> None:
    artifact.path("config.json").unlink()
    os.truncate(artifact.path("LICENSE-base.txt"), 3)
    artifact.path("model.safetensors").write_bytes(b"x" * len(FILES["model.safetensors"]))
    with pytest.raises(DamagedArtifactError, match="3 of 3 files") as caught:
        artifact.verify()

    assert all(name in str(caught.value) for name in FILES)


@pytest.mark.parametrize(
    "name",
    [
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "extra.gguf",
        "adapter_config.json",
        "tokenizer.model",
        "vocab.txt",
        "chat_template.jinja",
        "modeling_evil.py",
        "original/consolidated.00.pth",
        "sub/moesaic.json",
    ],
)
def test_a_model_file_that_is_not_listed_is_refused(artifact: ModelArtifact, name: str) -> None:
    path = artifact.folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    for check in (lambda: ModelArtifact.open(artifact.folder), artifact.verify):
        with pytest.raises(ForeignArtifactError, match="does not list") as caught:
            check()

        assert repr(name) in str(caught.value)


def test_a_linked_folder_that_is_not_listed_is_refused(artifact: ModelArtifact, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (artifact.folder / "additional_chat_templates").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ForeignArtifactError, match="additional_chat_templates"):
        ModelArtifact.open(artifact.folder)


@pytest.mark.parametrize(
    "name", ["README.md", "notes.txt", ".gitattributes", ".cache/download/a.json", "sub/.hidden.json"]
)
def test_a_note_beside_the_model_is_accepted(artifact: ModelArtifact, name: str) -> None:
    path = artifact.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    ModelArtifact.open(artifact.folder).verify()


def test_a_folder_without_manifest_is_foreign(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ForeignArtifactError, match=r"has no moesaic.json"):
        ModelArtifact.open(tmp_path)


@pytest.mark.parametrize("path", ["absent", "file", "loop", "nul\0l", "file/below"])
def test_a_path_that_is_no_folder_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match="give the path of an artifact"):
        ModelArtifact.open(tmp_path / path)


def test_an_altered_or_truncated_manifest_is_damaged(artifact: ModelArtifact) -> None:
    path = artifact.folder / MANIFEST_NAME
    text = path.read_bytes()
    for wrong in (text.replace(b"12.5", b"12.4"), text[: len(text) // 2], b"", b"\0" * len(text)):
        path.write_bytes(wrong)
        with pytest.raises(DamagedArtifactError, match=MANIFEST_NAME) as caught:
            ModelArtifact.open(artifact.folder)

        assert str(artifact.folder) in str(caught.value)


def test_a_manifest_of_a_later_version_says_to_upgrade(artifact: ModelArtifact) -> None:
    path = artifact.folder / MANIFEST_NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 2, "shards": {}}))
    with pytest.raises(ForeignArtifactError, match="format_version 2, this Moesaic reads 1; upgrade"):
        ModelArtifact.open(artifact.folder)


def test_an_endless_manifest_is_not_read(artifact: ModelArtifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "_MANIFEST_LIMIT_BYTES", 100)
    with pytest.raises(ForeignArtifactError, match="allowed are up to 100"):
        ModelArtifact.open(artifact.folder)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "sub/../../secret"])
def test_a_manifest_whose_file_names_leave_the_folder_is_refused(artifact: ModelArtifact, name: str) -> None:
    path = artifact.folder / MANIFEST_NAME
    value = json.loads(path.read_text())
    value["files"][0]["name"] = name
    path.write_text(json.dumps(value))
    with pytest.raises(ForeignArtifactError, match="is refused"):
        ModelArtifact.open(artifact.folder)


@pytest.mark.parametrize("name", ["model.safetensors", MANIFEST_NAME])
def test_a_link_out_of_the_folder_is_refused(artifact: ModelArtifact, tmp_path: Path, name: str) -> None:
    (artifact.folder / name).rename(tmp_path / "outside")
    (artifact.folder / name).symlink_to(tmp_path / "outside")
    with pytest.raises(DamagedArtifactError, match=f"{name} is a link to .*outside the artifact"):
        ModelArtifact.open(artifact.folder)


def test_a_file_in_a_linked_folder_outside_is_refused(tmp_path: Path) -> None:
    artifact = build(tmp_path / "model", {**FILES, "sub/a.json": b"{}"})
    (artifact.folder / "sub").rename(tmp_path / "outside")
    (artifact.folder / "sub").symlink_to(tmp_path / "outside")
    with pytest.raises((DamagedArtifactError, ForeignArtifactError), match="sub"):
        ModelArtifact.open(artifact.folder)


def test_a_neighbour_with_the_same_beginning_is_outside(artifact: ModelArtifact, tmp_path: Path) -> None:
    (tmp_path / "model2").mkdir()
    artifact.path("config.json").rename(tmp_path / "model2/config.json")
    (artifact.folder / "config.json").symlink_to("../model2/config.json")
    with pytest.raises(DamagedArtifactError, match="outside the artifact"):
        ModelArtifact.open(artifact.folder)


def test_a_link_within_the_folder_is_followed(artifact: ModelArtifact) -> None:
    (artifact.folder / ".blobs").mkdir()
    artifact.path("config.json").rename(artifact.folder / ".blobs/config")
    (artifact.folder / "config.json").symlink_to(".blobs/config")
    ModelArtifact.open(artifact.folder).verify()


def test_what_is_not_a_regular_file_is_never_opened(artifact: ModelArtifact) -> None:
    makers: list[tuple[Callable[[Path], object], str]] = [
        (Path.mkdir, "is not a regular file"),
        (os.mkfifo, "is not a regular file"),
        (lambda path: path.symlink_to(path.name), "cannot be read"),
    ]
    for create, message in makers:
        path = artifact.folder / "config.json"
        path.unlink()
        create(path)
        for use in (lambda: ModelArtifact.open(artifact.folder), artifact.verify, artifact.config):
            with pytest.raises(DamagedArtifactError, match=rf"config\.json {message}"):
                use()

        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        path.write_bytes(FILES["config.json"])


def test_an_altered_configuration_is_not_used(artifact: ModelArtifact) -> None:
    path = artifact.path("config.json")
    path.write_bytes(FILES["config.json"].replace(b"gpt_moe", b"gpt_mod"))
    with pytest.raises(DamagedArtifactError, match=r"config.json was altered"):
        artifact.config()


@pytest.mark.parametrize("content", [b"[]", b"{", b"\xff", b"1"])
def test_a_configuration_that_is_no_object_is_refused(tmp_path: Path, content: bytes) -> None:
    artifact = build(tmp_path / "model", {**FILES, "config.json": content})
    with pytest.raises(DamagedArtifactError, match=r"config.json"):
        artifact.config()


def test_a_file_that_cannot_be_read_is_named(artifact: ModelArtifact, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(folder_module, "hash_file", fail)
    with pytest.raises(DamagedArtifactError, match=r"model.safetensors cannot be read .*Input/output error"):
        artifact.verify()


def test_progress_counts_all_files_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "_CHUNK_BYTES", 1000)
    artifact = build(tmp_path / "model")
    seen: list[tuple[str, int, int]] = []
    artifact.verify(lambda name, done, total: seen.append((name, done, total)))
    size = sum(map(len, FILES.values()))
    assert {total for _, _, total in seen} == {size}
    assert [name for name, _, _ in seen].count("model.safetensors") == 11
    counts = [done for _, done, _ in seen]
    assert counts == sorted(counts)
    assert counts[-1] == size


def test_a_large_file_is_hashed_across_chunks(tmp_path: Path) -> None:
    content = os.urandom((9 << 20) + 17)
    artifact = build(tmp_path / "model", {**FILES, "model.safetensors": content})
    artifact.verify()
    with artifact.path("model.safetensors").open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(bytes([content[-1] ^ 1]))

    with pytest.raises(DamagedArtifactError, match=r"model.safetensors was altered"):
        artifact.verify()


def test_it_loads_neither_torch_nor_numpy() -> None:
    code = "import sys, moesaic.artifact; print([m for m in ('torch', 'numpy', 'transformers') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240)
    assert result.stdout.strip() == "[]"
