"""Questions are read from the forms that data sets have; what does not fit its text is named with its place."""

import json
from pathlib import Path
from typing import Any

import pytest

from moesaic.errors import CorpusError
from moesaic.retrieval import Document
from moesaic.retrieval.gold_span import GoldSpan
from moesaic.training.tuning.grounded_question import GroundedSet, read_grounded

CONTEXT = "The cat sleeps on the mat. The cat eats fish."


def written(tmp_path: Path, name: str, content: object) -> Path:
    path = tmp_path / name
    lines = content if isinstance(content, list) and name.endswith("l") else [content]
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    return path


def quotes(found: GroundedSet) -> list[list[str]]:
    texts = {document.id: document.text for document in found.documents}
    return [[texts[span.document][span.start : span.end] for span in question.gold] for question in found.questions]


def test_squad_with_and_without_answers(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "squad.json",
        {
            "version": "2",
            "data": [
                {
                    "title": "Cats",
                    "paragraphs": [
                        {
                            "context": CONTEXT,
                            "qas": [
                                {
                                    "id": "1",
                                    "question": "Where does it sleep?",
                                    "answers": [
                                        {"text": "the mat", "answer_start": 18},
                                        {"text": "the mat", "answer_start": 18},
                                        {"text": "on the mat", "answer_start": 15},
                                    ],
                                },
                                {"id": "2", "question": "Who?", "answers": [], "is_impossible": True},
                            ],
                        },
                        {
                            "context": "猫吃鱼。",
                            "qas": [{"question": "吃什么?", "answers": [{"text": "鱼", "answer_start": 2}]}],
                        },
                    ],
                }
            ],
        },
    )
    found = read_grounded([path])
    assert quotes(found) == [["the mat", "on the mat"], [], ["鱼"]]
    assert [(document.id, document.title) for document in found.documents] == [
        ("Cats (1)", "Cats"),
        ("Cats (2)", "Cats"),
    ]


def test_flat_lines_share_their_contexts(tmp_path: Path) -> None:
    # The offset of the first points at nothing: the nearest place that has the text is meant.
    lines = [
        {"context": CONTEXT, "question": "Who eats?", "answers": [{"text": "The cat", "answer_start": 25}]},
        {
            "context": CONTEXT,
            "question": "Where?",
            "answers": [{"text": "the mat", "answer_start": 18}],
            "title": "A\nb",
        },
    ]
    found = read_grounded([written(tmp_path, "flat.jsonl", lines)])
    assert len(found.documents) == 1
    assert found.questions[0].gold == (GoldSpan("text (1)", 27, 34),)
    assert quotes(found) == [["The cat"], ["the mat"]]


def test_passages_with_answers_in_someone_s_words(tmp_path: Path) -> None:
    lines = [
        {
            "input": "what does the cat do",
            "passages": [{"title": "Cat", "text": CONTEXT}],
            "output": [{"answer": "It sleeps, and eats fish.", "selected_sentences": ["The cat eats fish. "]}],
        },
        {
            "input": "what does the dog do",
            "passages": [{"title": "Cat", "text": CONTEXT}],
            "output": [{"answer": "", "selected_sentences": []}],
        },
    ]
    found = read_grounded([written(tmp_path, "passages.jsonl", lines)])
    assert quotes(found) == [["The cat eats fish."], []]
    assert [question.answer for question in found.questions] == ["It sleeps, and eats fish.", ""]


def test_questions_on_documents_of_their_own(tmp_path: Path) -> None:
    document = Document(id="pets", title="Pets", text=CONTEXT)
    content = [
        {"question": "Where?", "answer": "On the mat.", "gold": [{"document": "pets", "quote": "on the mat"}]},
        {"question": "Who barks?", "answer": "Nobody.", "gold": []},
    ]
    path = written(tmp_path, "questions.json", content)
    found = read_grounded([path], [document])
    assert quotes(found) == [["on the mat"], []]
    assert [question.answer for question in found.questions] == ["On the mat.", ""]
    with pytest.raises(CorpusError, match=r"question 1\.gold\[0\]: there is no document 'pets'"):
        read_grounded([path])


def test_a_folder_holds_many_forms(tmp_path: Path) -> None:
    flat = {"context": CONTEXT, "question": "Who eats?", "answers": []}
    written(tmp_path, "a.jsonl", [flat, flat])
    written(
        tmp_path,
        "b.json",
        {"data": [{"paragraphs": [{"context": "Other.", "qas": [{"question": "?", "answers": []}]}]}]},
    )
    (tmp_path / "LICENCE.txt").write_text("free")
    found = read_grounded([tmp_path])
    assert (len(found.documents), len(found.questions)) == (2, 3)


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("a.jsonl", [{"context": CONTEXT, "question": "?", "answers": [{"text": "cat", "answer_start": "4"}]}],
         r"answer_start is '4', not of type int"),
        ("a.jsonl", [{"context": CONTEXT, "answers": []}], "line 1.question is 'None', not of type str"),
        ("a.jsonl", [{"context": " ", "question": "?", "answers": []}], "has no text"),
        ("a.jsonl", [{"question": "?", "answer": "4"}], "neither context, passages nor gold; it has question, answer"),
        ("a.jsonl", [[1]], "line 1 is .* not an object"),
        ("a.jsonl", [{"context": CONTEXT, "question": "?", "is_impossible": True,
                      "answers": [{"text": "cat", "answer_start": 4}]}], "is impossible and has 1 answers"),
        ("a.jsonl", [{"input": "?", "passages": [], "output": []}], "line 1 has no passages"),
        ("a.json", {"data": [{"title": "x"}]}, r"data\[0\].paragraphs is 'None'"),
        ("a.json", {"rows": []}, "neither a list of questions nor SQuAD's data"),
        ("a.json", [], "there is no question in"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(tmp_path: Path, name: str, content: Any, fault: str) -> None:
    with pytest.raises(CorpusError, match=fault):
        read_grounded([written(tmp_path, name, content)])


FLAT = {"context": CONTEXT, "question": "Who eats?", "answers": [{"text": "cat", "answer_start": 4}]}
FAULTS = [
    (FLAT | {"question": " "}, "the question is blank"),
    (FLAT | {"answers": [{"text": "dog", "answer_start": 0}]}, "'dog' does not stand in its text"),
    (FLAT | {"answers": [{"text": " ", "answer_start": 3}]}, "' ' does not stand in its text"),
    (
        {
            "input": "?",
            "passages": [{"text": CONTEXT}],
            "output": [{"answer": "x", "selected_sentences": ["Dogs bark."]}],
        },
        "'Dogs bark.' does not stand in its text",
    ),
]


@pytest.mark.parametrize(("record", "fault"), FAULTS)
def test_single_faults_are_left_out_and_many_are_refused(tmp_path: Path, record: Any, fault: str) -> None:
    found = read_grounded([written(tmp_path, "few.jsonl", [*[FLAT] * 19, record])])
    assert len(found.questions) == 19
    assert found.left_out == (f"{tmp_path / 'few.jsonl'}, line 20: {fault}",)
    with pytest.raises(CorpusError, match=r"line 19: .* \(and 0 more like it\)"):
        read_grounded([written(tmp_path, "many.jsonl", [*[FLAT] * 18, record])])


def test_a_line_ends_where_json_says(tmp_path: Path) -> None:
    record = FLAT | {"context": f"Odd\u2028lines\x85here. {CONTEXT}", "answers": []}
    assert len(read_grounded([written(tmp_path, "a.jsonl", [record, FLAT])]).questions) == 2


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\xff\xfe")
    (tmp_path / "b.txt").write_text("x")
    for path, fault in (
        (tmp_path / "a.jsonl", "not JSON in UTF-8"),
        (tmp_path / "b.txt", "no .json or .jsonl file"),
        (tmp_path / "c.json", "can't be read"),
    ):
        with pytest.raises(CorpusError, match=fault):
            read_grounded([path])


def test_documents_left_out_leave_questions_without_an_answer(tmp_path: Path) -> None:
    lines = [
        {
            "context": f"Text number {number} is about {number}.",
            "question": f"What is {number}?",
            "answers": [{"text": f"about {number}", "answer_start": 0}],
        }
        for number in range(10)
    ]
    whole = read_grounded([written(tmp_path, "a.jsonl", lines)])
    some = whole.without_some(0.3, seed=1)
    assert (len(some.documents), len(some.questions)) == (7, 10)
    names = {document.id for document in some.documents}
    for before, after in zip(whole.questions, some.questions, strict=True):
        assert after.gold == (before.gold if before.gold[0].document in names else ())
    assert some == whole.without_some(0.3, seed=1)
    assert some != whole.without_some(0.3, seed=2)
    for share in (0.0, 0.01, 1.0):
        with pytest.raises(CorpusError, match="some must go, and some stay"):
            whole.without_some(share, seed=1)
