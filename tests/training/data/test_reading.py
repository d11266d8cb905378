"""Sources of every kind become documents; what cannot be read is named, and the rest is read."""

import gzip
import importlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.errors import CorpusError, NotFoundError, RecipeError
from moesaic.retrieval import Document, KnowledgeHome, ScriptedEmbedder
from moesaic.retrieval.knowledge_base import KnowledgeBase
from moesaic.training.data.long_text import divided
from moesaic.training.data.man_page import read_man_page
from moesaic.training.data.reading import ReadReport, read_source
from moesaic.training.data.source import SourceConfig
from moesaic.training.data.text_document import TextDocument


def read(*paths: object, **options: object) -> tuple[dict[str, str], ReadReport]:
    report = ReadReport()
    source = SourceConfig(name="s", paths=tuple(map(str, paths)), **options)  # type: ignore[arg-type]
    documents = list(read_source(source, report))
    assert {document.corpus for document in documents} == {"s"}
    assert len({document.id for document in documents}) == len(documents) == report.documents
    return {document.id: document.text for document in documents}, report


def test_a_folder_is_walked_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / "b.txt").write_text("B")
    (folder / "a.md").write_text("# A")
    (folder / "README").write_text("R")
    (folder / "sub" / "c.html").write_text("<nav>menu</nav><h1>C</h1><p>text &amp; more")
    (folder / "sub" / "d.txt.gz").write_bytes(gzip.compress("压缩".encode()))
    (folder / "copyright").write_text("GPL")
    (folder / "changelog.Debian.gz").write_bytes(b"x")
    (folder / ".hidden").write_text("no")
    (folder / "picture.png").write_bytes(b"\x89PNG")
    (folder / "link.txt").symlink_to(folder / "b.txt")
    texts, report = read(folder)
    assert list(texts.items()) == [
        ("docs/README", "R"),
        ("docs/a.md", "# A"),
        ("docs/b.txt", "B"),
        ("docs/sub/c.html", "C\n\ntext & more"),
        ("docs/sub/d.txt.gz", "压缩"),
    ]
    assert report.passed_over == {".png": 1}
    assert report.problem_count == 0


def test_broken_utf8_is_counted_and_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("好".encode() + b"\xff\xfe ok \xe4\xbd " + "\ufffd".encode())
    report = ReadReport()
    [document] = read_source(SourceConfig(name="s", paths=(str(tmp_path / "a.txt"),)), report)
    assert document.text == "好\ufffd\ufffd ok \ufffd \ufffd"
    assert (document.broken, report.broken_documents) == (3, 1)


def test_encodings(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("汉字".encode("gb18030"))
    (tmp_path / "b.txt").write_bytes("汉字".encode("utf-16"))
    texts, report = read(tmp_path / "a.txt", tmp_path / "b.txt", encoding="gb18030")
    assert set(texts.values()) == {"汉字"}
    assert report.broken_documents == 0
    with pytest.raises(RecipeError, match="encoding='utf-9' is unknown"):
        read(tmp_path, encoding="utf-9")


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'{"text": "one", "x": 1}\n\nnot json\n{"body": "two"}\n[1]\n{"text": 3}\n{"text": "\\ud800four"}\n'
        b'{"text": "fi\xffve"}\n{"text": ""}'
    )
    texts, report = read(path)
    assert texts == {"a.jsonl:1": "one", "a.jsonl:7": "?four", "a.jsonl:8": "fi\ufffdve"}
    assert report.problem_count == 4
    assert [problem["place"] for problem in report.problems] == [f"a.jsonl:{line}" for line in (3, 4, 5, 6)]
    assert "its fields: 'body'" in report.problems[1]["reason"]
    assert report.broken_documents == 2
    assert read(path, text_field="body")[0] == {"a.jsonl:4": "two"}


def test_gzipped_json_lines_and_their_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    whole = gzip.compress(b"".join(json.dumps({"text": f"text {n} " * 50}).encode() + b"\n" for n in range(500)))
    path.write_bytes(whole)
    assert len(read(path)[0]) == 500
    path.write_bytes(whole[: len(whole) // 2])
    texts, report = read(path)
    assert 0 < len(texts) < 500
    assert "cannot be read after line" in report.problems[0]["reason"]


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = importlib.import_module("pyarrow").table({"text": ["one", None, "三"], "n": [1, 2, 3]})
    importlib.import_module("pyarrow.parquet").write_table(table, path)
    assert read(path)[0] == {"a.parquet:1": "one", "a.parquet:3": "三"}
    with pytest.raises(CorpusError, match=r"no column 'body' .its columns: 'text', 'n'"):
        read(path, text_field="body")
    with pytest.raises(CorpusError, match="holds int, not text"):
        read(path, text_field="n")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(CorpusError, match="cannot be read after row 0"):
        read(path)


def test_a_knowledge_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOESAIC_KB_HOME", str(tmp_path))
    home = KnowledgeHome()
    with KnowledgeBase.create(home.path("pets"), embedder=ScriptedEmbedder()) as base:
        base.add([Document(id="cats", title="Cats", text="Cats sleep."), Document(id="龟", title="龟", text="乌龟。")])
    assert read("kb:pets")[0] == {"kb:pets/cats": "Cats sleep.", "kb:pets/龟": "乌龟。"}
    with pytest.raises(NotFoundError, match="'dogs' does not exist"):
        read("kb:dogs")


MAN_PAGE = r""".\" a comment
.TH LS 1 "January 2024"
.SH NAME
ls \- list directory contents
.SH DESCRIPTION
.PP
List \fIinformation\fP about the
.BR FILE s.
.TP
\fB\-a\fR, \fB\-\-all\fR
do not ignore \(lq.\(rq
.SH 中文
列出目录
的内容
"""


def test_manual_pages(tmp_path: Path) -> None:
    expected = (
        "NAME\n\nls - list directory contents\n\nDESCRIPTION\n\nList information about the FILEs.\n\n"
        '-a, --all do not ignore "."\n\n中文\n\n列出目录的内容'
    )
    assert read_man_page(MAN_PAGE) == expected
    folder = tmp_path / "usr/share/man/man1"
    folder.mkdir(parents=True)
    (folder / "ls.1.gz").write_bytes(gzip.compress(MAN_PAGE.encode()))
    assert list(read(tmp_path)[0].values()) == [expected]


def test_lines_as_documents(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\n\ntwo \xff\n")
    texts, report = read(tmp_path / "a.txt", by_line=True)
    assert texts == {"a.txt:1": "one", "a.txt:3": "two \ufffd"}
    assert report.broken_documents == 1


def test_long_texts_are_divided(tmp_path: Path) -> None:
    text = "\n\n".join(f"Paragraph {n} has some words in it." for n in range(40))
    (tmp_path / "a.txt").write_text(text)
    texts, _ = read(tmp_path / "a.txt", longest=300)
    assert list(texts)[:2] == ["a.txt#1", "a.txt#2"]
    assert "".join(texts.values()) == text
    assert all(part.endswith("it.\n\n") for part in list(texts.values())[:-1])


@given(st.text(alphabet="ab.。\n ", max_size=200), st.integers(2, 30))
def test_division_loses_nothing(text: str, longest: int) -> None:
    parts = list(divided(text, longest))
    assert "".join(parts) == text
    assert max(map(len, parts)) <= longest


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [("a.txt", b"\x00\x01", "binary"), ("a.txt.gz", b"no gzip", "cannot be read"), ("a.xyz", b"x", "known type")],
)
def test_a_source_without_documents_is_an_error(tmp_path: Path, name: str, content: bytes, fault: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=f"source 's' has no document.*{fault}"):
        read(tmp_path)


def test_other_files_are_read_beside_a_bad_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\x00")
    (tmp_path / "b.txt").write_text("fine")
    texts, report = read(tmp_path)
    assert list(texts.values()) == ["fine"]
    assert report.problems == [{"place": f"{tmp_path.name}/a.txt", "reason": "it is binary, not text"}]


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="there is no file or folder"):
        read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"name": "a b"}, "name='a b'"),
        ({"name": ""}, "name=''"),
        ({"paths": ()}, "paths="),
        ({"format": "pdf"}, "format='pdf'"),
        ({"ratio": 0.0}, "ratio=0.0"),
        ({"longest": 10}, "longest=10"),
    ],
)
def test_sources_that_mean_nothing_are_refused(changes: dict[str, object], fault: str) -> None:
    with pytest.raises(RecipeError, match=fault):
        SourceConfig(**({"name": "s", "paths": ("a",)} | changes))  # type: ignore[arg-type]


@given(st.text(), st.text(alphabet=st.characters(exclude_categories=[])))
def test_documents_survive_their_lines(name: str, text: str) -> None:
    document = TextDocument(id=name, text=text, corpus="c", broken=1)
    line = document.to_line()
    assert line.count(b"\n") == 1
    assert TextDocument.from_line(line) == document
