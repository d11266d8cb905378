"""Finding a base by its reference."""

import json
import sys
from pathlib import Path

import pytest
import torch

from moesaic.errors import InputError, MissingDependencyError, UnsupportedModelError
from moesaic.model import base as base_module
from moesaic.model.base import open_base
from moesaic.model.dense_folder import DenseFolder
from moesaic.model.gguf_file import GGUFBase
from tests.model.tiny_dense import tiny_model, weights_of, write_gguf


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder without a tokenizer."""
    tiny_model("llama").save_pretrained(tmp_path / "models" / "tiny")
    return tmp_path / "models" / "tiny"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An importable package without content, which fails if it is imported."""
    monkeypatch.syspath_prepend(tmp_path / "site")
    package = tmp_path / "site" / "carrier_of_models"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('nobody should run this')\n")
    return package


class TestPaths:
    def test_folder(self, folder: Path) -> None:
        with open_base(str(folder)) as base:
            assert isinstance(base, DenseFolder)
            assert base.reference == str(folder)

    def test_file(self, tmp_path: Path) -> None:
        path = write_gguf(tmp_path / "tiny.gguf", tiny_model("llama"))
        with open_base(str(path)) as base:
            assert isinstance(base, GGUFBase)

    def test_home(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(folder.parent))
        with open_base("~/tiny") as base:
            assert base.reference == "~/tiny"

    def test_relative_folder_wins_over_a_hub_id(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(folder.parent.parent)
        with open_base("models/tiny") as base:
            assert isinstance(base, DenseFolder)

    @pytest.mark.parametrize("reference", ["nowhere", "./no/where", "/no/where", "no/where.gguf", ""])
    def test_nothing_there(self, reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InputError, match=r"folder with config\.json and safetensors.*package:NAME or a hub id"):
            open_base(reference)

    def test_file_of_another_kind(self, tmp_path: Path) -> None:
        (tmp_path / "model.bin").write_bytes(b"x")
        with pytest.raises(InputError, match="is no base model"):
            open_base(str(tmp_path / "model.bin"))

    def test_revision_belongs_to_the_hub(self, folder: Path) -> None:
        with pytest.raises(InputError, match="revision='main' only applies to hub ids"):
            open_base(str(folder), revision="main")


class TestHub:
    def test_downloaded_folder_is_opened(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[tuple[str, str | None]] = []

        def fetch(repository: str, revision: str | None) -> Path:
            asked.append((repository, revision))
            return folder

        monkeypatch.setattr(base_module, "fetch_base", fetch)
        with open_base("owner/name", revision="v2") as base:
            assert base.reference == "owner/name"
            assert base.read("model.norm.weight").shape == (64,)
        assert asked == [("owner/name", "v2")]


class TestPackages:
    def test_file_in_a_package(self, package: Path) -> None:
        (package / "data").mkdir()
        write_gguf(package / "data" / "tiny.gguf", tiny_model("qwen2"))
        with open_base("package:carrier-of-models") as base:
            assert base.reference == "package:carrier-of-models"
            assert base.config["model_type"] == "qwen2"
        assert "carrier_of_models" not in sys.modules

    def test_folder_in_a_package(self, package: Path) -> None:
        tiny_model("mistral").save_pretrained(package / "weights")
        with open_base("package:carrier_of_models") as base:
            assert base.config["model_type"] == "mistral"

    def test_one_of_several(self, package: Path) -> None:
        tiny_model("qwen3").save_pretrained(package / "weights")
        write_gguf(package / "tiny.gguf", tiny_model("llama"))
        with pytest.raises(InputError, match=r"carries 2 models \(tiny\.gguf, weights\)"):
            open_base("package:carrier_of_models")
        with open_base("package:carrier_of_models/weights") as base:
            assert base.config["model_type"] == "qwen3"
        with open_base("package:carrier_of_models/tiny.gguf") as base:
            assert base.config["model_type"] == "llama"

    @pytest.mark.usefixtures("package")
    def test_package_without_a_model(self) -> None:
        with pytest.raises(InputError, match=r"carries 0 models \(no \.gguf file, no model folder\)"):
            open_base("package:carrier_of_models")

    @pytest.mark.usefixtures("package")
    @pytest.mark.parametrize("inner", ["missing.gguf", "../..", "/etc"])
    def test_path_that_is_not_in_the_package(self, inner: str) -> None:
        with pytest.raises(InputError, match=r"the package 'carrier_of_models' has no"):
            open_base(f"package:carrier_of_models/{inner}")

    @pytest.mark.parametrize("name", ["no_such_package", "", "os.path", "a b", "sys"])
    def test_package_that_is_not_installed(self, name: str) -> None:
        with pytest.raises(MissingDependencyError, match="is not installed here: install it"):
            open_base(f"package:{name}")


def test_all_kinds_of_base_give_the_same_model(tmp_path: Path) -> None:
    model = tiny_model("llama", tie_word_embeddings=True)
    model.save_pretrained(tmp_path / "folder")
    path = write_gguf(tmp_path / "tiny.gguf", model)
    with open_base(str(tmp_path / "folder")) as ours, open_base(str(path)) as theirs:
        assert ours.names == theirs.names
        assert sorted(ours.names) == sorted(weights_of(model))
        same = ours.config.keys() - {
            "pad_token_id",
            "initializer_range",
        }  # these two the test's GGUF file states otherwise
        assert {name: ours.config[name] for name in same} == {name: theirs.config[name] for name in same}
        for name in ours.names:
            assert ours.spec(name) == theirs.spec(name)
            assert torch.equal(ours.read(name), theirs.read(name))


def test_failing_check_leaves_nothing_open(folder: Path) -> None:
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"num_hidden_layers": 3}))
    with pytest.raises(UnsupportedModelError, match="lacks 9 of 30 tensors"):
        open_base(str(folder))
    (folder / "config.json").write_text(json.dumps(settings))
    with open_base(str(folder)) as base:
        assert len(base.names) == 21
