"""Questions with choices: what is read, what is refused, and how they are scored."""

import json
from pathlib import Path

import pytest

from moesaic.errors import CorpusError
from moesaic.training.refresh.choice_question import (
    ChoiceQuestion,
    choice_sequences,
    read_choice_questions,
    share_right,
)

GOOD = {"prompt": "天空是", "choices": ["蓝色的", "绿色的"], "answer": 0}


def write(path: Path, *lines: object) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def encode(text: str) -> list[int]:
    return list(text.encode())


def test_questions_are_read(tmp_path: Path) -> None:
    found = read_choice_questions(write(tmp_path / "q.jsonl", GOOD, "", GOOD | {"answer": 1}))
    assert found == [
        ChoiceQuestion(prompt="天空是", choices=("蓝色的", "绿色的"), answer=0),
        ChoiceQuestion(prompt="天空是", choices=("蓝色的", "绿色的"), answer=1),
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "must be an object"),
        (GOOD | {"more": 1}, "exactly answer, choices, prompt"),
        (GOOD | {"prompt": ""}, "prompt=''"),
        (GOOD | {"choices": ["a"]}, "at least two different"),
        (GOOD | {"choices": ["a", "a"]}, "at least two different"),
        (GOOD | {"choices": ["a", ""]}, "at least two different"),
        (GOOD | {"choices": "ab"}, "at least two different"),
        (GOOD | {"answer": 2}, "from 0 to 1"),
        (GOOD | {"answer": True}, "from 0 to 1"),
        (GOOD | {"answer": -1}, "from 0 to 1"),
    ],
)
def test_a_line_that_is_none_is_named(tmp_path: Path, line: object, words: str) -> None:
    with pytest.raises(CorpusError, match="line 2") as refused:
        read_choice_questions(write(tmp_path / "q.jsonl", GOOD, line))
    assert words in str(refused.value)


def test_files_without_questions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="cannot be read"):
        read_choice_questions(tmp_path / "none.jsonl")
    with pytest.raises(CorpusError, match="holds no question"):
        read_choice_questions(write(tmp_path / "empty.jsonl", "", ""))
    (tmp_path / "latin.jsonl").write_bytes(b'{"prompt": "\xe4"}')
    with pytest.raises(CorpusError, match="UTF-8"):
        read_choice_questions(tmp_path / "latin.jsonl")


def test_a_choice_begins_after_its_prompt() -> None:
    question = ChoiceQuestion(prompt="ab", choices=("c", "de"), answer=0)
    assert choice_sequences(question, encode, longest=4) == [([97, 98, 99], 2), ([97, 98, 100, 101], 2)]
    with pytest.raises(CorpusError, match="at most 3"):
        choice_sequences(question, encode, longest=3)


def test_the_likeliest_choice_is_the_answer_and_a_tie_is_wrong() -> None:
    question = ChoiceQuestion(prompt="p", choices=("a", "b", "c"), answer=1)
    assert share_right([question] * 4, [[-2, -1, -3], [-1, -2, -3], [-1, -1, -3], [-9, -8, -8.5]]) == 0.5
