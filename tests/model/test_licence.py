"""Where the licence of a base comes from."""

from pathlib import Path

import pytest

from moesaic.model.licence import find_licence_text, read_card_licence, spdx_name


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("apache-2.0", "Apache-2.0"),
        (" MIT ", "MIT"),
        ("cc-by-nc-4.0", "CC-BY-NC-4.0"),
        ("llama3.1", "llama3.1"),
        ("", None),
        (None, None),
    ],
)
def test_known_names_get_their_spdx_spelling(given: str | None, expected: str | None) -> None:
    assert spdx_name(given) == expected


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("---\nlanguage: en\nlicense: apache-2.0\n---\n# Model\n", "Apache-2.0"),
        ("---\nlicense: 'mit'  # as upstream\n---\n", "MIT"),
        ('---\nlicense: other\nlicense_name: "qwen-research"\n---\n', "qwen-research"),
        ("---\nlicense: other\n---\n", None),
        ("# Model\nlicense: mit\n", None),
        ("---\ntitle: x\n---\nlicense: mit\n", None),
    ],
)
def test_model_card_header(card: str, expected: str | None, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(card)
    assert read_card_licence(tmp_path) == expected


def test_nothing_is_made_up(tmp_path: Path) -> None:
    assert read_card_licence(tmp_path) is None
    assert find_licence_text(tmp_path) is None


def test_text_of_an_artifact_goes_before_others(tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_text("第二", encoding="utf-8")
    assert find_licence_text(tmp_path) == "第二"
    (tmp_path / "LICENSE-base.txt").write_text("第一", encoding="utf-8")
    assert find_licence_text(tmp_path) == "第一"
