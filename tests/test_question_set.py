"""The questions about Python's own reference are sound: balanced, distinct, and their gold quotes stand in the text.

The corpus needs no file here: every Python carries its language reference as `pydoc_data.topics`. The wording moves
from one release to the next, so on any Python but the one the set was written from, a question needs one quote that
holds.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pydoc_data.topics import topics
from typing import Any

import pytest

from tests.repository import ROOT

Question = dict[str, Any]

QUESTIONS: list[Question] = json.loads(
    (ROOT / "tests/data/python_reference_questions.json").read_text(encoding="utf-8")
)

WRITTEN_FROM = (3, 11, 7)
"""The Python in whose topics every quote was found."""

MAX_QUOTE = 300
MIN_TOPICS = 30
OFF_TOPIC = "off-topic"
ASKED = {"id", "language", "split", "question", "answerable", "gold"}
"""What every question has; an answerable one has an `answer` too, an unanswerable one a `kind`."""

_CHINESE = re.compile(r"[\u4e00-\u9fff]")


def sound() -> Question:
    """An answerable question without fault."""
    text = next(text for text in topics.values() if text.count(text.splitlines()[0]) == 1)
    topic = next(name for name in topics if topics[name] is text)
    return {
        "id": "sound",
        "language": "en",
        "split": "test",
        "question": "Which heading?",
        "answerable": True,
        "answer": "This one.",
        "gold": [{"document": f"python/{topic}", "quote": text.splitlines()[0]}],
    }


def faults(question: Question) -> Iterator[str]:
    """What is wrong with one question by itself."""
    extra = "answer" if question["answerable"] else "kind"
    if set(question) != ASKED | {extra}:
        yield f"its fields are {sorted(question)}"
    if bool(question["gold"]) != question["answerable"]:
        yield "only what can be answered has gold spans"
    for words in (question[field] for field in ("question", "answer") if field in question):
        if not words.strip() or bool(_CHINESE.search(words)) != (question["language"] == "zh"):
            yield f"{words!r} is not in {question['language']}"
    for span in question["gold"]:
        if not 0 < len(span["quote"]) <= MAX_QUOTE:
            yield f"the quote has {len(span['quote'])} characters, allowed are 1 to {MAX_QUOTE}"
    if len({(span["document"], span["quote"]) for span in question["gold"]}) != len(question["gold"]):
        yield "a gold span is given twice"


def lost(question: Question, texts: Mapping[str, str]) -> list[str]:
    """Gold spans that do not stand exactly once in their topic."""
    found = ((span, texts.get(span["document"].removeprefix("python/"), "")) for span in question["gold"])
    return [f"{span['document']}: {span['quote']!r}" for span, text in found if text.count(span["quote"]) != 1]


def repeated(questions: Iterable[Question], field: str) -> list[str]:
    """Values of a field that more than one question has, whatever the case and the blanks."""
    counts = Counter(" ".join(question[field].casefold().split()) for question in questions)
    return [value for value, count in counts.items() if count > 1]


def test_the_halves_are_alike() -> None:
    shares = Counter((question["split"], question["answerable"], question["language"]) for question in QUESTIONS)
    assert shares == {
        (split, answerable, language): count
        for split in ("calibration", "test")
        for answerable in (True, False)
        for language, count in (("en", 16), ("zh", 4))
    }
    far = Counter(question["split"] for question in QUESTIONS if question.get("kind") == OFF_TOPIC)
    assert far == {"calibration": 5, "test": 5}


def test_no_question_comes_twice() -> None:
    assert repeated(QUESTIONS, "id") == []
    assert repeated(QUESTIONS, "question") == []
    assert repeated([{"id": "What  is X?"}, {"id": "what is x?"}, {"id": "y"}], "id") == ["what is x?"]


def test_the_questions_are_spread_over_the_reference() -> None:
    assert len({question["gold"][0]["document"] for question in QUESTIONS if question["gold"]}) >= MIN_TOPICS


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question["id"])
def test_the_question_is_sound(question: Question) -> None:
    assert list(faults(question)) == []
    gone = lost(question, topics)
    if sys.version_info[:3] == WRITTEN_FROM:
        assert gone == []
    assert len(gone) < len(question["gold"]) or not question["answerable"], "\n".join(gone)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"note": "x"}, "fields"),
        ({"gold": []}, "gold spans"),
        ({"answerable": False}, "gold spans"),
        ({"question": " "}, "not in en"),
        ({"language": "zh"}, "not in zh"),
        ({"answer": "在这里。"}, "not in en"),
        ({"gold": [{"document": "python/assert", "quote": "x" * (MAX_QUOTE + 1)}]}, "301 characters"),
        ({"gold": [{"document": "python/assert", "quote": ""}]}, "0 characters"),
        ({"gold": [{"document": "python/assert", "quote": "x"}] * 2}, "twice"),
    ],
)
def test_a_fault_is_found(change: Question, fault: str) -> None:
    assert list(faults(sound())) == []
    assert fault in "\n".join(faults(sound() | change))


def test_a_lost_quote_is_found() -> None:
    assert lost(sound(), topics) == []
    (span,) = sound()["gold"]
    topic = span["document"].removeprefix("python/")
    assert len(lost(sound(), {})) == 1
    assert len(lost(sound(), {topic: topics[topic] * 2})) == 1
    assert len(lost(sound(), {topic: topics[topic].replace(" ", "\n")})) == 1
