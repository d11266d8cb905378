"""Files, folders and corpora into documents, and what is said of those that cannot be."""

import os
from pathlib import Path

import pytest

from moesaic.errors import DocumentError, InputError
from moesaic.retrieval import Document, Section, load_document, load_sources
from moesaic.retrieval.python_reference import python_reference


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    docs = tmp_path / "docs"
    (docs / "zh").mkdir(parents=True)
    (docs / ".hidden").mkdir()
    (docs / "a.md").write_bytes("\ufeff# Title\r\n\r\nText.\r\n".encode())
    (docs / "zh" / "b.txt").write_text("第一行\n======\n\n内容。")
    (docs / "c.html").write_text("<title>Page</title><h1>Head</h1><p>Text.</p>")
    (docs / "README").write_text("Plain.")
    (docs / ".hidden" / "d.md").write_text("Hidden.")
    (docs / ".e.md").write_text("Hidden.")
    return docs


def test_a_folder_becomes_documents(folder: Path) -> None:
    loaded = load_sources([folder])
    assert loaded.problems == ()
    assert [(document.id, document.title, document.media_type, document.text) for document in loaded.documents] == [
        ("docs/README", "README", "text/plain", "Plain."),
        ("docs/a.md", "Title", "text/markdown", "# Title\n\nText."),
        ("docs/c.html", "Page", "text/html", "Head\n\nText."),
        ("docs/zh/b.txt", "第一行", "text/plain", "第一行\n======\n\n内容。"),
    ]
    markdown = loaded.documents[1]
    assert markdown.source == str(folder / "a.md")
    assert markdown.source_map.to_source(markdown.text.index("Text")) == 11
    assert loaded.documents[2].source_map.to_source(0) is None


def test_what_cannot_be_a_document_is_named_and_the_rest_is_loaded(folder: Path) -> None:
    (folder / "binary.txt").write_bytes(b"\x00\x01")
    (folder / "empty.md").write_text(" \n")
    (folder / "empty.html").write_text("<script>x</script>")
    (folder / "latin.txt").write_bytes("é".encode("latin-1"))
    (folder / "paper.pdf").write_bytes(b"%PDF")
    (folder / "gone.md").symlink_to(folder / "nowhere.md")
    os.mkfifo(folder / "pipe.txt")
    loaded = load_sources([folder])
    assert len(loaded.documents) == 4
    reasons = {Path(problem.path).name: problem.reason for problem in loaded.problems}
    assert sorted(reasons) == [
        "binary.txt",
        "empty.html",
        "empty.md",
        "gone.md",
        "latin.txt",
        "paper.pdf",
        "pipe.txt",
    ]
    assert reasons["binary.txt"] == "it is binary, not text"
    assert reasons["empty.md"] == reasons["empty.html"] == "it is empty"
    assert "byte 0xe9 at 0" in reasons["latin.txt"]
    assert "'.pdf' are not understood; understood are .txt" in reasons["paper.pdf"]
    assert "no regular file" in reasons["pipe.txt"]


def test_a_file_without_permission_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DocumentError, match=r"cannot be read .Permission denied"):
        load_document(folder / "a.md")


def test_a_file_that_is_too_large_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moesaic.retrieval.loader._MAX_BYTES", 3)
    assert "6 bytes, allowed are 3" in load_sources([folder / "README"]).problems[0].reason


def test_two_files_of_one_id_are_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.md").write_text("Other.")
    loaded = load_sources([folder / "a.md", tmp_path / "other" / "a.md", folder / "a.md"])
    assert [document.id for document in loaded.documents] == ["a.md"]
    assert len(loaded.problems) == 1
    assert "add the folder above both" in loaded.problems[0].reason


def test_a_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file or folder .*nowhere'; give a path, or a corpus: python-reference"):
        load_sources([tmp_path / "nowhere"])


def test_other_encodings_are_read_when_named(tmp_path: Path) -> None:
    (tmp_path / "gb.txt").write_bytes("编码".encode("gb18030"))
    assert load_sources([tmp_path / "gb.txt"], encoding="gb18030").documents[0].text == "编码"
    with pytest.raises(InputError, match="encoding='klingon' is unknown"):
        load_sources([tmp_path / "gb.txt"], encoding="klingon")


def test_the_python_reference_is_complete_and_unchanged() -> None:
    from pydoc_data.topics import topics

    loaded = load_sources(["python-reference"]).documents
    assert list(loaded) == python_reference()
    assert {document.id: document.text for document in loaded} == {
        f"python/{name}": text for name, text in topics.items()
    }
    assert {document.id: document.title for document in loaded}["python/assert"] == 'The "assert" statement'


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": " "}, "must be 1 to 500 printable"),
        ({"id": "x" * 501}, "must be 1 to 500 printable"),
        ({"id": "a\nb"}, "must be 1 to 500 printable"),
        ({"text": " \n"}, "has no text"),
        ({"text": "a\0b"}, "characters that are no text"),
        ({"text": "a\ud800"}, "characters that are no text"),
        ({"sections": (Section(start=0, end=2),)}, "must tile its text, 0 to 4"),
        ({"sections": (Section(start=0, end=2), Section(start=3, end=4))}, "must tile its text"),
    ],
)
def test_unsound_documents_are_refused(changes: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"id": "x", "title": "X", "text": "Text"}
    with pytest.raises(DocumentError, match=message):
        Document(**arguments | changes)  # type: ignore[arg-type]
