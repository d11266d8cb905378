"""Examples for program-aided reasoning: a question, answered by a program in Python that computes the answer.

Read from JSON lines of two forms, told apart by their keys:

    worked problems   {"question", "answer"}                           arithmetic in <<…=…>>, the answer behind ####
    functions         {"prompt", "canonical_solution", "entry_point"}  a head with a docstring, and its body

Solutions that no program can be made of are left out and counted by their reason; other forms are refused. Nothing is
executed (`moesaic.training.tuning.worked_program`); functions are parsed, and must define what they say.
"""

import ast
import json
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moesaic.chains.embedder_scale import language_of
from moesaic.errors import CorpusError
from moesaic.training.tuning.conversation import Conversation, Example, Message, Role
from moesaic.training.tuning.worked_program import worked_program

__all__ = ["INSTRUCTIONS", "ProgramExamples", "fenced", "program_examples"]

INSTRUCTIONS = {
    "en": "Write a Python function solution() that computes the answer to the question and returns it.",
    "zh": "请写一个 Python 函数 solution(),计算并返回下面问题的答案。",
}
"""Before a word problem, in its language."""

_COMPLETE = "Complete this Python function."


@dataclass(frozen=True, kw_only=True)
class ProgramExamples:
    """What came of files."""

    examples: tuple[Example, ...]
    left_out: Counter[str]
    """Why how many were not made, by the beginning of the reason."""


def program_examples(paths: Iterable[Path]) -> ProgramExamples:
    """The examples of files, or of all .jsonl files of folders.

    Raises:
        CorpusError: a file is unreadable, a line has another form, or nothing could be made of any of them.
    """
    examples: list[Example] = []
    left_out: Counter[str] = Counter()
    for path in paths:
        for file in sorted(path.glob("*.jsonl")) if path.is_dir() else [path]:
            for where, record in _records(file):
                make = _maker(where, record)
                try:
                    examples.append(make(record))
                except CorpusError as error:
                    left_out[_reason(str(error))] += 1
    if not examples:
        raise CorpusError(
            f"no program could be made of {', '.join(map(str, paths)) or 'no file'}: "
            f"{dict(left_out) or 'there is no .jsonl file with worked problems or functions'}"
        )
    return ProgramExamples(examples=tuple(examples), left_out=left_out)


def fenced(program: str) -> str:
    """A program as a model writes it in an answer."""
    return f"```python\n{program.strip()}\n```"


def _records(file: Path) -> Iterable[tuple[str, Mapping[str, Any]]]:
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{file} can't be read as UTF-8 ({error}): give another") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            where = f"{file}, line {number}"
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise CorpusError(f"{where}: {line[:60]!r} is not JSON ({error}): correct it") from error
            if not isinstance(record, Mapping):
                raise CorpusError(f"{where}: {line[:60]!r} is no JSON object")
            yield where, record


def _maker(where: str, record: Mapping[str, Any]) -> Any:
    for keys, make in (
        (("question", "answer"), _problem),
        (("prompt", "canonical_solution", "entry_point"), _function),
    ):
        if all(isinstance(record.get(key), str) for key in keys):
            return make
    raise CorpusError(
        f"{where} has {', '.join(record) or 'nothing'}; known are question and answer, or prompt, canonical_solution "
        "and entry_point: give a file with solutions"
    )


def _problem(record: Mapping[str, Any]) -> Conversation:
    question = record["question"].strip()
    program = worked_program(question, record["answer"])
    return _conversation(f"{INSTRUCTIONS[language_of(question)]}\n\n{question}", fenced(program.text))


def _function(record: Mapping[str, Any]) -> Conversation:
    head, body = record["prompt"].strip("\n"), record["canonical_solution"].rstrip()
    try:
        tree = ast.parse(f"{head}\n{body}\n")
    except (SyntaxError, ValueError) as error:
        raise CorpusError("the function is not Python of today") from error
    defined = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == record["entry_point"]]
    if not defined:
        raise CorpusError("the function is not the one that its entry point names")
    defined[0].body = [node for node in defined[0].body if not _is_docstring(node)]
    if not defined[0].body:
        raise CorpusError("the function has no body")
    return _conversation(f"{_COMPLETE}\n\n{fenced(textwrap.dedent(head))}", fenced(ast.unparse(tree)))


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _conversation(asked: str, said: str) -> Conversation:
    return Conversation(messages=(Message(role=Role.USER, content=asked), Message(role=Role.ASSISTANT, content=said)))


def _reason(error: str) -> str:
    """Without the values, so that like reasons count together."""
    for known in ("the last step gives", "the step", "the solution ends", "the solution has no", "the function"):
        if error.startswith(known):
            return error if known == "the function" else known
    return "the arithmetic can't be read"
