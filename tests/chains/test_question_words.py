"""Which words of a question a base knows, and how stems meet."""

from pathlib import Path

import pytest

from moesaic.chains.question_words import QuestionWords, stems
from tests.chains.rag_scene import made_base

ENGLISH = "The cat sleeps on the mat. Dogs bark at night."


@pytest.mark.parametrize(
    "words",
    [
        "derive derives derived deriving",
        "suppress suppressed suppresses",
        "stop stopped stopping",
        "entry entries",
        "annotate annotated annotates annotating",
        "call calls called calling",
    ],
)
def test_forms_of_a_word_share_their_stem(words: str) -> None:
    first, *others = words.split()
    assert all(stems(first) & stems(other) for other in others)


@pytest.mark.parametrize(("one", "other"), [("class", "clasp"), ("is", "i"), ("need", "nee"), ("猫", "狗")])
def test_other_words_do_not(one: str, other: str) -> None:
    assert not stems(one) & stems(other)


@pytest.mark.parametrize(
    ("question", "sample", "share"),
    [
        ("Where does the cat sleep?", ENGLISH, 0.5),  # `sleep` is written `sleeps` there: the index has no stems
        ("Does NumPy broadcast arrays?", ENGLISH, 1.0),
        ("苹果和梨哪个甜?", ENGLISH, 0.0),  # the passages know no Chinese: its words say nothing
        ("苹果甜不甜?", "猫睡在垫子上。", 1.0),
        ("Why 8080?", ENGLISH, 0.0),
    ],
)
def test_the_share_of_words_that_the_base_never_mentions(
    tmp_path: Path, question: str, sample: str, share: float
) -> None:
    with made_base(tmp_path / "kb") as base:
        assert QuestionWords.of(question, base, sample).absent_share == share


def test_rare_words_weigh_more(tmp_path: Path) -> None:
    texts = {"a": "the cat and the mat", "b": "the cat and the dog", "c": "the cat and the zebra"}
    with made_base(tmp_path / "kb", texts) as base:
        words = QuestionWords.of("cat zebra", base, ENGLISH)
    assert words.weights["zebra"] > words.weights["cat"] > 0
    assert words.coverage(stems("a zebra")) > 0.5 > words.coverage(stems("a cat"))
    assert words.coverage(frozenset()) == 0


def test_a_question_without_words_covers_nothing(tmp_path: Path) -> None:
    with made_base(tmp_path / "kb") as base:
        words = QuestionWords.of("???", base, ENGLISH)
    assert (words.absent_share, words.coverage(stems("cat"))) == (0.0, 0.0)
