"""What breaks while a base is written, and what broke since: the former state stays, or an error says what to do."""

import errno
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from moesaic.errors import (
    DamagedKnowledgeBaseError,
    ForeignKnowledgeBaseError,
    KnowledgeBaseError,
    StorageError,
)
from moesaic.retrieval import KnowledgeBase, ScriptedEmbedder, records, writer
from tests.repository import ROOT
from tests.retrieval.documents import PETS, markdown

NEW = markdown("# Parrots\n\nParrots talk.", "parrots.md")

STEPS = {
    "before the indexes are built": ("writer", "build_indexes", "before"),
    "before the index files": ("writer", "write_indexes", "before"),
    "after the index files": ("writer", "write_indexes", "after"),
    "after the commit": ("writer", "remove_other_generations", "before"),
    "in the middle of the embedding": ("records", "store_vectors", "after"),
}
"""Where a writer may die: the module and function, and on which side of the call."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with KnowledgeBase.create(tmp_path / "pets", embedder=ScriptedEmbedder()) as base:
        base.add(PETS)
    return tmp_path / "pets"


def assert_state(folder: Path, *, has_new: bool) -> None:
    """The base is sound, with the new document or without it, and can be written to."""
    with KnowledgeBase.open(folder) as base:
        assert [summary.id for summary in base.documents()] == [
            document.id for document in sorted((*PETS, NEW) if has_new else PETS, key=lambda document: document.id)
        ]
        assert bool(base.search("parrots", mode="lexical")) is has_new
        assert base.search("what do cats eat")[0].document_id == "cats.md"
        report = base.add([NEW])
        assert (report.unchanged if has_new else report.added) == ("parrots.md",)
        base.remove(["parrots.md"])
    assert len([path for path in folder.iterdir() if path.name.startswith("index-")]) == 1


@pytest.mark.parametrize("step", STEPS)
def test_a_writer_killed_at_any_step_leaves_one_state_or_the_other(folder: Path, step: str) -> None:
    module, function, side = STEPS[step]
    program = f"""
        import os, signal, sys
        from moesaic.retrieval import KnowledgeBase, {module}
        from tests.retrieval.test_knowledge_base_faults import NEW
        real = {module}.{function}
        def dying(*arguments, **named):
            if {side == "after"}:
                real(*arguments, **named)
            os.kill(os.getpid(), signal.SIGKILL)
        {module}.{function} = dying
        KnowledgeBase.open(sys.argv[1]).add([NEW])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(folder)], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert_state(folder, has_new=step == "after the commit")


@pytest.mark.parametrize("step", [name for name in STEPS if name != "after the commit"])
def test_a_failing_step_leaves_the_former_state(folder: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, function, _ = STEPS[step]
    target = {"writer": writer, "records": records}[module]

    def full(*arguments: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with KnowledgeBase.open(folder) as base:
        with monkeypatch.context() as patch:
            patch.setattr(target, function, full)
            with pytest.raises(OSError, match="No space left"):
                base.add([NEW])
        assert [summary.id for summary in base.documents()] == ["cats.md", "dogs.md", "turtles.md"]
    assert_state(folder, has_new=False)


def test_a_full_disk_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with KnowledgeBase.open(folder) as base, monkeypatch.context() as patch:
        patch.setattr("moesaic.retrieval.vector_index.VectorIndex.save", full)
        with pytest.raises(StorageError, match=r"No space left.*free some space.*is as it was"):
            base.add([NEW])
    assert_state(folder, has_new=False)


def test_a_database_without_room_is_named(folder: Path) -> None:
    with KnowledgeBase.open(folder) as base:
        pages = base._database.connection.execute("PRAGMA page_count").fetchone()[0]

        class Small(sqlite3.Connection):
            """A connection whose database may not grow."""

            def __init__(self, *arguments: object, **named: object) -> None:
                super().__init__(*arguments, **named)  # type: ignore[arg-type]
                self.execute(f"PRAGMA max_page_count = {pages}")

        real = sqlite3.connect
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sqlite3, "connect", lambda *a, **n: real(*a, **n, factory=Small))
            with pytest.raises(StorageError, match="no room"):
                base.add([markdown("# Long\n\n" + "More and more words. " * 5000, "long.md")])
    assert_state(folder, has_new=False)


def test_an_interrupted_embedding_is_taken_up_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopping(ScriptedEmbedder):
        def embed_documents(self, texts):
            if self.embedded:
                raise KeyboardInterrupt
            return super().embed_documents(texts)

    monkeypatch.setattr(writer, "_BATCH", 4)
    long = markdown("\n\n".join(f"# Part {number}\n\nWords of {number}." for number in range(10)), "long.md")
    with KnowledgeBase.open(folder, embedder=Stopping()) as base, pytest.raises(KeyboardInterrupt):
        base.add([long])
    assert_is_unchanged(folder)
    with KnowledgeBase.open(folder) as base:
        assert base.add([long]).embedded == 6


def assert_is_unchanged(folder: Path) -> None:
    with KnowledgeBase.open(folder) as base:
        assert len(base.documents()) == 3


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [Path.unlink, truncate, flip], ids=["missing", "truncated", "altered"])
@pytest.mark.parametrize("name", ["vectors.faiss", "lexical/vocab.index.json", "lexical/data.csc.index.npy"])
def test_damaged_index_files_are_made_anew(
    folder: Path, name: str, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    with KnowledgeBase.open(folder) as base:
        before = base.search("what do cats eat")
    damage(next(folder.glob("index-*")) / name)
    with KnowledgeBase.open(folder) as base:
        assert base.search("what do cats eat") == before
        assert "made anew" in caplog.text
        caplog.clear()
        assert base.search("what do cats eat") == before
    with KnowledgeBase.open(folder) as base:
        assert base.search("what do cats eat") == before
    assert caplog.text == ""


def test_a_reader_that_may_not_write_makes_indexes_in_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (next(folder.glob("index-*")) / "vectors.faiss").unlink()

    def refuse(*arguments: object) -> None:
        raise StorageError("read-only")

    monkeypatch.setattr(writer, "write_indexes", refuse)
    with KnowledgeBase.open(folder) as base:
        assert base.search("what do cats eat")[0].document_id == "cats.md"
        assert "stay damaged on disk" in caplog.text
        caplog.clear()
        assert base.search("what do dogs eat")[0].document_id == "dogs.md"
    assert caplog.text == ""


@pytest.mark.parametrize("damage", [truncate, flip, lambda path: path.write_bytes(b"no database" * 500)])
def test_a_damaged_database_is_an_error_that_says_so(folder: Path, damage: Callable[[Path], None]) -> None:
    with KnowledgeBase.open(folder) as base:
        base.add([markdown("# Long\n\n" + "More and more words. " * 5000, "long.md")])
    damage(folder / "kb.sqlite")
    with pytest.raises(DamagedKnowledgeBaseError, match=r"kb\.sqlite is damaged .*: restore the folder"):
        read_everything(folder)


def read_everything(folder: Path) -> None:
    with KnowledgeBase.open(folder) as base:
        for summary in base.documents():
            base.document(summary.id)
        base.search("words", k=1000)


def test_an_altered_text_is_noticed(folder: Path) -> None:
    connection = sqlite3.connect(folder / "kb.sqlite", isolation_level=None)
    connection.execute("UPDATE documents SET text = replace(text, 'fish', 'mice') WHERE id = 'cats.md'")
    connection.execute("UPDATE documents SET sections = '[[0, 3, []]]' WHERE id = 'dogs.md'")
    connection.execute("UPDATE documents SET sections = '[[' WHERE id = 'turtles.md'")
    connection.close()
    with KnowledgeBase.open(folder) as base:
        for document in PETS:
            with pytest.raises(DamagedKnowledgeBaseError, match=f"'{document.id}' is damaged"):
                base.text(document.id)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("PRAGMA user_version = 2", "has format version 2, this Moesaic reads version 1"),
        ("PRAGMA application_id = 7", "was not made by Moesaic"),
    ],
)
def test_foreign_databases_are_refused(folder: Path, statement: str, message: str) -> None:
    connection = sqlite3.connect(folder / "kb.sqlite")
    connection.execute(statement)
    connection.close()
    with pytest.raises(ForeignKnowledgeBaseError, match=message):
        KnowledgeBase.open(folder)


@pytest.mark.parametrize("name", ["embedder", "dimension", "chunks"])
def test_damaged_settings_are_refused(folder: Path, name: str) -> None:
    connection = sqlite3.connect(folder / "kb.sqlite", isolation_level=None)
    connection.execute("DELETE FROM settings WHERE name = ?", (name,))
    connection.close()
    with pytest.raises(DamagedKnowledgeBaseError, match=name):
        KnowledgeBase.open(folder)


def test_folders_without_a_base_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ForeignKnowledgeBaseError, match=r"no kb\.sqlite"):
        KnowledgeBase.open(tmp_path)
    (tmp_path / "kb.sqlite").touch()
    with pytest.raises(ForeignKnowledgeBaseError, match="its making was interrupted"):
        KnowledgeBase.open(tmp_path)


def test_an_interrupted_making_can_be_repeated(tmp_path: Path) -> None:
    (tmp_path / "kb.sqlite").touch()
    with KnowledgeBase.create(tmp_path, embedder=ScriptedEmbedder()) as base:
        assert base.add(PETS).embedded == 5


def test_a_base_is_not_made_over_another(folder: Path) -> None:
    with pytest.raises(KnowledgeBaseError, match="holds a knowledge base already"):
        KnowledgeBase.create(folder, embedder=ScriptedEmbedder())
    assert_is_unchanged(folder)


def test_a_place_that_cannot_be_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot make the folder"):
        KnowledgeBase.create(tmp_path / "file" / "base", embedder=ScriptedEmbedder())


def test_an_idle_folder_can_be_copied(folder: Path, tmp_path: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["index-1", "kb.sqlite"]
    folder.rename(tmp_path / "moved")
    assert_state(tmp_path / "moved", has_new=False)
