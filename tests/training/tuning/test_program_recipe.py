"""Worked problems become programs that give their answer, or nothing; nothing of them is executed to find out."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.errors import CorpusError
from moesaic.training.tuning.conversation import Conversation
from moesaic.training.tuning.program_recipe import INSTRUCTIONS, program_examples
from moesaic.training.tuning.worked_program import worked_program

QUESTION = "Ann sold 48 clips in April, and half as many in May. How many were that?"
SOLUTION = "In May she sold 48/2 = <<48/2=24>>24 clips.\nThat makes 48+24 = <<48+24=72>>72 clips.\n#### 72"


def result(program: str) -> Any:
    """Run a program of this test's own making."""
    names: dict[str, Any] = {}
    exec(program, names)
    return names["solution"]()


def test_a_solution_becomes_a_program() -> None:
    program = worked_program(QUESTION, SOLUTION)
    assert program.text == (
        "def solution():\n"
        "    # In May she sold 48/2 = 24 clips.\n"
        "    step_1 = 48 / 2\n"
        "    # That makes 48+24 = 72 clips.\n"
        "    step_2 = 48 + step_1\n"
        "    return step_2\n"
    )
    assert program.answer == 72
    assert result(program.text) == 72


def test_a_number_of_the_question_keeps_its_place() -> None:
    """24 comes out of the first step and stands in the question too: it may be either, so it stays."""
    program = worked_program("There are 24 boxes and 48 halves.", "<<48/2=24>>24\n<<24*3=72>>72\n#### 72")
    assert "step_2 = 24 * 3" in program.text


NUMBERS = st.integers(1, 50)


@given(start=NUMBERS, steps=st.lists(st.tuples(st.sampled_from("+-*/"), NUMBERS), min_size=1, max_size=5))
def test_programs_compute_what_was_annotated(start: int, steps: list[tuple[str, int]]) -> None:
    value, lines = Fraction(start), []
    for sign, number in steps:
        before = value
        value = {"+": value + number, "-": value - number, "*": value * number, "/": value / number}[sign]
        operand = f"({_decimal(before)})" if before < 0 else _decimal(before)
        lines.append(f"So it is <<{operand}{sign}{number}={_decimal(value)}>>.")
    program = worked_program("How many?", "\n".join([*lines, f"#### {_decimal(value)}"]))
    assert abs(result(program.text) - float(value)) < 0.3


def _decimal(value: Fraction) -> str:
    """As people write it."""
    return f"{float(value):.12f}".rstrip("0").rstrip(".")


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        ("<<1,000*2=2,000>>\n#### 2,000", 2000),
        ("<<.5*4=2>>\n#### 2", 2),
        ("<<$3+$4=$7>>\n#### $7", 7),
        ("<<007+1=8>>\n#### 8.", 8),
        ("<<7//2=3>> <<3%2=1>> <<2**3-1=7>>\n#### 7", 7),
        ("<<-(2-5)=3>>\n#### 3", 3),
        ("<<10/3=3.33>>\n#### 3.33", Fraction(333, 100)),
    ],
)
def test_spellings_of_arithmetic(solution: str, answer: Fraction) -> None:
    program = worked_program("How many?", solution)
    assert program.answer == answer
    assert abs(result(program.text) - float(answer)) < 0.01


@pytest.mark.parametrize(
    ("solution", "fault"),
    [
        ("It is 7.", "not with #### and a number"),
        ("<<3+4=7>>\n#### seven", "'seven' is no number"),
        ("It is plain.\n#### 7", "no annotated arithmetic"),
        ("<<3+4=8>>\n#### 8", r"the step 3\+4=8 gives 7"),
        ("<<3+4=7>>\n#### 8", "the last step gives 7, the answer is 8"),
        ("<<x+4=7>>\n#### 7", "is no arithmetic"),
        ("<<3 cats=3>>\n#### 3", "is no arithmetic"),
        ("<<3/0=3>>\n#### 3", "is no arithmetic"),
        ("<<9**999999999=3>>\n#### 3", "is no arithmetic"),
        ("<<__import__('os').getpid()=3>>\n#### 3", "is no arithmetic"),
        ("<<(lambda: 3)()=3>>\n#### 3", "is no arithmetic"),
        ("<<True+2=3>>\n#### 3", "is no arithmetic"),
        ("<<" + "(" * 500 + "3" + ")" * 500 + "=3>>\n#### 3", "is no arithmetic"),
    ],
)
def test_what_does_not_come_out_is_no_program(solution: str, fault: str) -> None:
    with pytest.raises(CorpusError, match=fault):
        worked_program("How many?", solution)


def written(tmp_path: Path, *records: object) -> Path:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records) + "\n", encoding="utf-8")
    return path


def test_both_forms_become_conversations(tmp_path: Path) -> None:
    head = '\n\ndef double(x):\n\t"""\n\tTwice a number.\n\t>>> double(2)\n\t4\n\t"""\n'
    path = written(
        tmp_path,
        {"question": QUESTION, "answer": SOLUTION},
        {"question": "安有两个苹果,又买了三个。一共几个?", "answer": "<<2+3=5>>\n#### 5"},
        {"prompt": head, "canonical_solution": "\treturn x  *  2", "entry_point": "double", "test": "assert"},
        {"question": QUESTION, "answer": "#### 72"},
        {"prompt": "def f():\n", "canonical_solution": "  print 1", "entry_point": "f"},
        {"prompt": "def f():\n", "canonical_solution": "  return 1", "entry_point": "g"},
        {"prompt": 'def f():\n  "x"\n', "canonical_solution": "", "entry_point": "f"},
    )
    found = program_examples([path])
    first, second, third = found.examples
    assert isinstance(first, Conversation)
    assert first.messages[0].content == f"{INSTRUCTIONS['en']}\n\n{QUESTION}"
    assert first.messages[1].content.startswith("```python\ndef solution():\n")
    assert first.messages[1].content.endswith("    return step_2\n```")
    assert isinstance(second, Conversation)
    assert second.messages[0].content.startswith(INSTRUCTIONS["zh"])
    assert isinstance(third, Conversation)
    assert "Twice a number." in third.messages[0].content
    assert third.messages[1].content == "```python\ndef double(x):\n    return x * 2\n```"
    assert found.left_out == {
        "the solution has no": 1,
        "the function is not Python of today": 1,
        "the function is not the one that its entry point names": 1,
        "the function has no body": 1,
    }


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        ({"input": "x", "target": 3}, "line 1 has input, target; known are question and answer"),
        ({"question": "x", "answer": 3}, "known are"),
        ([], "is no JSON object"),
        ({"question": QUESTION, "answer": "72"}, "no program could be made of"),
    ],
)
def test_other_forms_are_refused(tmp_path: Path, record: object, fault: str) -> None:
    with pytest.raises(CorpusError, match=fault):
        program_examples([written(tmp_path, record)])
    (tmp_path / "a.jsonl").write_text("{")
    with pytest.raises(CorpusError, match=r"line 1: .* is not JSON"):
        program_examples([tmp_path])
    with pytest.raises(CorpusError, match="can't be read"):
        program_examples([tmp_path / "b.jsonl"])
