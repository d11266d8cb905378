"""Examples of a recipe are made once, and again when anything that they come from has changed."""

import json
from pathlib import Path

import pytest

from moesaic.errors import CorpusError, RecipeError, StorageError
from moesaic.training.tuning import example_recipe as module
from moesaic.training.tuning.conversation import Completion, Conversation, read_examples
from moesaic.training.tuning.example_recipe import (
    EXAMPLES_NAME,
    ExampleKind,
    ExampleOptions,
    prepared_examples,
    write_examples,
)
from moesaic.training.tuning.grounded_recipe import REFUSALS, ServedFormat

CONTEXTS = [
    ("The cat sleeps on the mat near the stove.", "Where does the cat sleep?", "on the mat"),
    ("The server listens on port 8080 of this machine.", "Which port does the server listen on?", "port 8080"),
    ("鹦鹉在野外能活六十年以上。", "鹦鹉能活多久?", "六十年"),
]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    lines = [
        {"context": context, "question": asked, "answers": [{"text": said, "answer_start": context.index(said)}]}
        for context, asked, said in CONTEXTS
    ]
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    return path


def grounded(path: Path, **changes: object) -> ExampleOptions:
    given: dict[str, object] = {"kind": ExampleKind.GROUNDED, "paths": (path,), "embedder": "scripted:256"}
    return ExampleOptions(**(given | changes))  # type: ignore[arg-type]


def test_conversations_are_read_where_they_are(tmp_path: Path) -> None:
    examples = [Completion(prompt="1 + 1 = ", response="2"), Completion(prompt="", response="三", end=False)]
    write_examples(tmp_path / "a.jsonl", examples)
    found = prepared_examples(ExampleOptions(paths=(tmp_path / "a.jsonl",)), tmp_path / "run")
    assert list(found.examples) == examples
    assert not (tmp_path / "run").exists()


def test_questions_become_examples_once(questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = prepared_examples(grounded(questions), tmp_path / "run")
    assert made.report == {"made": {"likelihood": 3, "choice": 3, "written": 3}, "left_out": {}}
    assert len(made.examples) == 9

    def never(*_: object) -> None:
        raise AssertionError("they were made already")

    monkeypatch.setattr(module, "_grounded", never)
    assert prepared_examples(grounded(questions), tmp_path / "run") == made
    for changed in (grounded(questions, seed=1), grounded(questions, formats=(ServedFormat.CHOICE,))):
        with pytest.raises(AssertionError, match="made already"):
            prepared_examples(changed, tmp_path / "run")
    kept = tmp_path / "run" / EXAMPLES_NAME
    text = kept.read_bytes()
    kept.write_bytes(text[:-5])
    with pytest.raises(AssertionError, match="made already"):
        prepared_examples(grounded(questions), tmp_path / "run")
    kept.write_bytes(text)
    questions.write_text(questions.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="made already"):
        prepared_examples(grounded(questions), tmp_path / "run")


def test_some_questions_lose_their_answer(questions: Path, tmp_path: Path) -> None:
    options = grounded(questions, unanswerable_share=0.34, formats=(ServedFormat.WRITTEN,))
    found = prepared_examples(options, tmp_path / "run")
    said = [example.messages[-1].content for example in found.examples if isinstance(example, Conversation)]
    assert len(said) == 3
    assert sum(answer in REFUSALS.values() for answer in said) == 1
    assert found.report["made"] == {"written": 3, "refused": 1}


def test_questions_on_documents_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "pets.md").write_text("# Pets\n\nThe cat sleeps on the mat near the stove.\n")
    path = tmp_path / "questions.json"
    gold = [{"document": "docs/pets.md", "quote": "on the mat"}]
    path.write_text(json.dumps([{"question": "Where does the cat sleep?", "gold": gold}]))
    found = prepared_examples(grounded(path, documents=(str(folder),)), tmp_path / "run")
    likelihood = found.examples[0]
    assert isinstance(likelihood, Completion)
    assert likelihood.prompt.startswith("Pets\n")
    (folder / "b.md").write_bytes(b"\x00\xff\x00")
    with pytest.raises(CorpusError, match=r"b\.md can't be read"):
        prepared_examples(grounded(path, documents=(str(folder),)), tmp_path / "other")


def test_programs(tmp_path: Path) -> None:
    path = tmp_path / "math.jsonl"
    path.write_text(json.dumps({"question": "What is 2 and 3?", "answer": "<<2+3=5>>\n#### 5"}))
    options = ExampleOptions(kind=ExampleKind.PROGRAMS, paths=(path,))
    found = prepared_examples(options, tmp_path / "run")
    assert found.report == {"made": {"programs": 1}, "left_out": {}}
    assert tuple(read_examples(tmp_path / "run" / EXAMPLES_NAME)) == found.examples
    assert prepared_examples(options, tmp_path / "run") == found


def test_a_disk_that_is_full_leaves_nothing_half_made(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("moesaic.training.data.durable.os.fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        write_examples(tmp_path / "a.jsonl", [Completion(prompt="a", response="b")])
    assert [path.name for path in tmp_path.iterdir()] == ["questions.jsonl"]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"paths": ()}, "names nothing"),
        ({"unanswerable_share": 1.0}, "must be 0 to below 1"),
        ({"embedder": ""}, "grounded examples need embedder"),
        ({"kind": ExampleKind.PROGRAMS}, "belong to grounded, not to programs"),
        ({"documents": ("docs",), "unanswerable_share": 0.5}, "drop one"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, object], fault: str) -> None:
    with pytest.raises(RecipeError, match=fault):
        grounded(Path("x"), **changes)
