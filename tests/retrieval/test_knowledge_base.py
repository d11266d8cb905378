"""Knowledge bases: what goes in comes out, exactly, and costs nothing twice."""

import json
import threading
from pathlib import Path

import pytest

from moesaic.artifact.staging import lock_folder, unlock_folder
from moesaic.errors import EmbedderMismatchError, InputError, KnowledgeBaseBusyError, NotFoundError
from moesaic.retrieval import ChunkOptions, KnowledgeBase, ScriptedEmbedder, SearchMode
from tests.retrieval.documents import PETS, markdown


@pytest.fixture
def embedder() -> ScriptedEmbedder:
    return ScriptedEmbedder(256)


@pytest.fixture
def base(tmp_path: Path, embedder: ScriptedEmbedder) -> KnowledgeBase:
    made = KnowledgeBase.create(tmp_path / "pets", embedder=embedder)
    made.add(PETS)
    return made


def test_an_empty_base_finds_nothing(tmp_path: Path, embedder: ScriptedEmbedder) -> None:
    with KnowledgeBase.create(tmp_path / "empty", embedder=embedder) as base:
        assert [base.search("anything", mode=mode) for mode in SearchMode] == [[], [], []]
        assert base.documents() == []
        assert base.info().chunks == 0


@pytest.mark.parametrize("mode", SearchMode)
@pytest.mark.parametrize(
    ("query", "document"),
    [("what do cats eat", "cats.md"), ("dogs that guard the house", "dogs.md"), ("乌龟吃什么", "turtles.md")],
)
def test_a_search_finds_exact_spans(base: KnowledgeBase, query: str, document: str, mode: SearchMode) -> None:
    found = base.search(query, mode=mode)
    assert found[0].document_id == document
    assert [passage.score for passage in found] == sorted((passage.score for passage in found), reverse=True)
    for passage in found:
        assert base.text(passage.document_id)[passage.start : passage.end] == passage.text
        assert base.text(passage.document_id, passage.start, passage.end) == passage.text


def test_a_passage_says_how_it_was_found(base: KnowledgeBase) -> None:
    best = base.search("they eat fish and chicken")[0]
    assert (best.title, best.heading_path) == ("doc", ("Cats", "Food"))
    assert (best.vector_rank, best.lexical_rank) == (1, 1)
    assert best.score == pytest.approx(2 / 61)
    assert best.vector_similarity is not None
    assert 0 < best.vector_similarity <= 1
    assert best.lexical_score > 0
    assert json.loads(json.dumps(best.to_json()))["heading_path"] == ["Cats", "Food"]


def test_each_mode_asks_its_index_alone(base: KnowledgeBase) -> None:
    by_words = base.search("fish", mode="lexical")
    assert [passage.document_id for passage in by_words] == ["cats.md"]
    assert by_words[0].vector_similarity is None
    by_vector = base.search("fish", mode="vector")
    assert len(by_vector) == 5
    assert {passage.lexical_rank for passage in by_vector} == {None}


def test_k_bounds_the_result(base: KnowledgeBase) -> None:
    assert len(base.search("cats", k=1)) == 1
    assert len(base.search("cats", k=1000)) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"query": " \n\0"}, "blank"),
        ({"query": "x", "k": 0}, "k=0 must be 1 to 1000"),
        ({"query": "x", "k": 1001}, "k=1001"),
        ({"query": "x", "mode": "fuzzy"}, "mode='fuzzy' must be one of hybrid, vector, lexical"),
    ],
)
def test_searches_out_of_range_are_refused(base: KnowledgeBase, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        base.search(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("query", ["\ud800 cats", "cats\0dogs", "c" * 10_000, "！？", "' OR 1=1; --"])
def test_odd_queries_are_answered(base: KnowledgeBase, query: str) -> None:
    assert base.search(query)


async def test_the_async_search_gives_the_same(base: KnowledgeBase) -> None:
    assert await base.asearch("cats", k=2) == base.search("cats", k=2)


def test_a_reopened_base_gives_the_same(base: KnowledgeBase, embedder: ScriptedEmbedder) -> None:
    before = base.search("what do dogs eat")
    base.close()
    with KnowledgeBase.open(base.folder) as again:
        assert again.search("what do dogs eat") == before
        assert again.embedder.digest == embedder.digest
        assert again.settings == base.settings


def test_documents_come_back_as_they_were(base: KnowledgeBase) -> None:
    assert [base.document(document.id) for document in PETS] == list(PETS)
    assert [(summary.id, summary.chunks) for summary in base.documents()] == [
        ("cats.md", 2),
        ("dogs.md", 2),
        ("turtles.md", 1),
    ]
    info = base.info()
    assert (info.documents, info.chunks, info.embedder) == (3, 5, "scripted:256")
    assert info.characters == sum(len(document.text) for document in PETS)


def test_unchanged_documents_cost_nothing(base: KnowledgeBase, embedder: ScriptedEmbedder) -> None:
    embedder.embedded.clear()
    generation = sorted(path.name for path in base.folder.iterdir())
    report = base.add(PETS)
    assert report.unchanged == ("cats.md", "dogs.md", "turtles.md")
    assert (report.added, report.replaced, report.chunks, report.embedded) == ((), (), 0, 0)
    assert embedder.embedded == []
    assert sorted(path.name for path in base.folder.iterdir()) == generation


def test_a_changed_document_is_replaced_and_its_unchanged_chunks_keep_their_vectors(
    base: KnowledgeBase, embedder: ScriptedEmbedder
) -> None:
    embedder.embedded.clear()
    changed = markdown(PETS[0].text.replace("fish and chicken", "salmon"), "cats.md")
    report = base.add([changed, PETS[1]])
    assert (report.replaced, report.unchanged) == (("cats.md",), ("dogs.md",))
    assert (report.chunks, report.embedded) == (2, 1)
    assert len(embedder.embedded) == 1
    assert "salmon" in embedder.embedded[0]
    assert base.search("salmon", mode="lexical")[0].document_id == "cats.md"
    assert base.search("chicken", mode="lexical") == []


def test_equal_texts_are_embedded_once(base: KnowledgeBase, embedder: ScriptedEmbedder) -> None:
    embedder.embedded.clear()
    report = base.add([markdown(PETS[0].text, "copy.md")])
    assert (report.added, report.embedded) == (("copy.md",), 0)
    assert [passage.document_id for passage in base.search("fish", mode="lexical")] == ["cats.md"]  # folded
    base.remove(["cats.md"])
    assert [passage.document_id for passage in base.search("fish", mode="lexical")] == ["copy.md"]


def test_removed_documents_are_gone_with_their_vectors(base: KnowledgeBase, embedder: ScriptedEmbedder) -> None:
    base.remove(["cats.md"])
    assert base.search("fish", mode="lexical") == []
    assert {passage.document_id for passage in base.search("cats")} == {"dogs.md", "turtles.md"}
    embedder.embedded.clear()
    assert base.add([PETS[0]]).embedded == 2


def test_all_documents_can_go(base: KnowledgeBase) -> None:
    base.remove([document.id for document in PETS])
    assert base.search("cats") == []
    assert base.add(PETS).added == ("cats.md", "dogs.md", "turtles.md")


def test_unknown_documents_are_named_with_their_neighbours(base: KnowledgeBase) -> None:
    for call in (base.document, base.text, lambda name: base.remove(["dogs.md", name])):
        with pytest.raises(NotFoundError, match=r"document 'cat.md' does not exist; the nearest of 3 here: 'cats.md'"):
            call("cat.md")
    assert len(base.documents()) == 3


@pytest.mark.parametrize(("start", "end"), [(-1, 3), (5, 4), (0, 10_000)])
def test_spans_outside_of_the_text_are_refused(base: KnowledgeBase, start: int, end: int) -> None:
    with pytest.raises(InputError, match="must be 0 <= start <= end <="):
        base.text("cats.md", start, end)


def test_two_documents_of_one_id_are_refused(base: KnowledgeBase) -> None:
    with pytest.raises(InputError, match=r"two documents have the id 'new.md'"):
        base.add([markdown("One.", "new.md"), markdown("Two.", "new.md")])
    assert len(base.documents()) == 3


def test_chunk_options_stay_with_the_base(tmp_path: Path, embedder: ScriptedEmbedder) -> None:
    options = ChunkOptions(max_tokens=16, overlap_tokens=4)
    KnowledgeBase.create(tmp_path / "small", embedder=embedder, chunks=options).close()
    with KnowledgeBase.open(tmp_path / "small") as base:
        assert base.settings.chunks == options
        base.add([markdown("今天天气很好。" * 8)])
        assert base.info().chunks == 4


def test_another_embedder_is_refused(base: KnowledgeBase) -> None:
    with pytest.raises(EmbedderMismatchError, match=r"scripted:256 .* not from scripted:128 .* or add the documents"):
        KnowledgeBase.open(base.folder, embedder=ScriptedEmbedder(128))


def test_a_name_that_came_to_mean_another_embedder_is_refused(
    base: KnowledgeBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moesaic.retrieval.knowledge_base.load_embedder", lambda name: ScriptedEmbedder(128))
    with KnowledgeBase.open(base.folder) as opened:
        assert opened.search("fish", mode="lexical")  # needs no embedder
        with pytest.raises(EmbedderMismatchError):
            opened.search("fish")


def test_readers_see_what_a_writer_commits(base: KnowledgeBase, embedder: ScriptedEmbedder) -> None:
    with KnowledgeBase.open(base.folder, embedder=embedder) as reader:
        assert reader.search("parrots", mode="lexical") == []
        base.add([markdown("Parrots talk.", "parrots.md")])
        assert reader.search("parrots", mode="lexical")[0].document_id == "parrots.md"
        base.remove(["parrots.md"])
        assert reader.search("parrots", mode="lexical") == []


def test_a_second_writer_is_told_to_wait(base: KnowledgeBase) -> None:
    lock = lock_folder(base.folder, wait=False)
    assert lock is not None
    try:
        with pytest.raises(KnowledgeBaseBusyError, match="another process is writing"):
            base.add([markdown("New.", "new.md")])
        assert base.search("cats")
    finally:
        unlock_folder(lock)
    assert base.add([markdown("New.", "new.md")]).added == ("new.md",)


def test_threads_search_while_another_adds(base: KnowledgeBase) -> None:
    failures: list[BaseException] = []
    stop = threading.Event()

    def look() -> None:
        try:
            while not stop.is_set():
                for passage in base.search("what do cats eat", k=3):
                    if not passage.document_id.startswith("note-"):  # such a one may be gone by now
                        assert base.text(passage.document_id, passage.start, passage.end) == passage.text
        except BaseException as error:
            failures.append(error)

    readers = [threading.Thread(target=look) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(5):
        base.add([markdown(f"# Note {number}\n\nCats eat {number} fish.", f"note-{number}.md")])
        base.remove([f"note-{number}.md"])
    stop.set()
    for reader in readers:
        reader.join()
    assert failures == []
