"""Knowledge bases by name."""

from pathlib import Path

import pytest

from moesaic.artifact.staging import lock_folder, unlock_folder
from moesaic.errors import InputError, KnowledgeBaseBusyError, NotFoundError
from moesaic.retrieval import KnowledgeBase, KnowledgeHome, ScriptedEmbedder


def make(home: KnowledgeHome, *names: str) -> None:
    for name in names:
        KnowledgeBase.create(home.path(name), embedder=ScriptedEmbedder()).close()


def test_the_home_is_where_one_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert KnowledgeHome().folder == tmp_path / ".local/share/moesaic/kb"
    monkeypatch.setenv("MOESAIC_KB_HOME", str(tmp_path / "other"))
    assert KnowledgeHome().folder == tmp_path / "other"
    assert KnowledgeHome("~/mine").folder == tmp_path / "mine"


def test_bases_are_listed_opened_and_removed_by_name(tmp_path: Path) -> None:
    home = KnowledgeHome(tmp_path / "kb")
    assert home.names() == []
    make(home, "guide", "法律")
    (home.folder / "no-base").mkdir()
    assert home.names() == ["guide", "法律"]
    home.open("法律").close()
    home.remove("guide")
    assert home.names() == ["法律"]
    assert not (home.folder / "guide").exists()


def test_files_of_others_stay_when_a_base_is_removed(tmp_path: Path) -> None:
    home = KnowledgeHome(tmp_path)
    make(home, "guide")
    (tmp_path / "guide" / "notes.txt").touch()
    home.remove("guide")
    assert [path.name for path in (tmp_path / "guide").iterdir()] == ["notes.txt"]


def test_unknown_names_are_answered_with_known_ones(tmp_path: Path) -> None:
    home = KnowledgeHome(tmp_path)
    with pytest.raises(NotFoundError, match="has none; make it with: moesaic kb add guide PATH"):
        home.open("guide")
    make(home, "guide", "laws")
    with pytest.raises(NotFoundError, match=r"knowledge base 'guid' does not exist; .* has 'guide'; make it"):
        home.open("guid")
    with pytest.raises(NotFoundError):
        home.remove("guid")


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "-x", "x" * 65, "a b", "a\n"])
def test_names_that_are_no_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot name a knowledge base"):
        KnowledgeHome(tmp_path).path(name)


def test_a_base_is_not_removed_below_its_writer(tmp_path: Path) -> None:
    home = KnowledgeHome(tmp_path)
    make(home, "guide")
    lock = lock_folder(home.path("guide"), wait=False)
    assert lock is not None
    with pytest.raises(KnowledgeBaseBusyError):
        home.remove("guide")
    unlock_folder(lock)
    assert home.names() == ["guide"]
