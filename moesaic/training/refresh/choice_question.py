"""Questions with choices: the task that a gate can measure on any model, without a word being generated.

A file has one JSON object per line: `{"prompt": "…", "choices": ["…", "…"], "answer": 0}`. The model answers with the
choice that it finds likeliest after the prompt, by the sum of its tokens' log-probabilities, each choice tokenized by
itself: what the server's `Score` computes.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from moesaic.errors import CorpusError

__all__ = ["ChoiceQuestion", "choice_sequences", "read_choice_questions", "share_right"]

_KEYS = {"prompt", "choices", "answer"}


@dataclass(frozen=True, kw_only=True)
class ChoiceQuestion:
    """One question."""

    prompt: str
    """What comes before the choices."""
    choices: tuple[str, ...]
    """At least two."""
    answer: int
    """Index of the right one."""


def read_choice_questions(path: Path) -> list[ChoiceQuestion]:
    """Read a file of questions.

    Raises:
        CorpusError: it is missing, is not UTF-8, holds no question, or a line is none; the line is named.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(
            f"{path} cannot be read as UTF-8 ({error}); give a file of questions, one JSON a line"
        ) from error
    questions = [
        _question(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1) if line.strip()
    ]
    if not questions:
        raise CorpusError(f"{path} holds no question; write one JSON object a line, with {', '.join(sorted(_KEYS))}")
    return questions


def choice_sequences(
    question: ChoiceQuestion, encode: Callable[[str], list[int]], *, longest: int
) -> list[tuple[list[int], int]]:
    """For every choice the tokens of prompt and choice, and where the choice begins.

    Raises:
        CorpusError: one is longer than `longest` tokens, or prompt or choice has none.
    """
    prompt = encode(question.prompt)
    found = []
    for choice in question.choices:
        tokens = encode(choice)
        if not prompt or not tokens or len(prompt) + len(tokens) > longest:
            raise CorpusError(
                f"{question.prompt[:60]!r} with the choice {choice[:40]!r} has {len(prompt)} and {len(tokens)} tokens; "
                f"each needs at least 1, and both together at most {longest}"
            )
        found.append(([*prompt, *tokens], len(prompt)))
    return found


def share_right(questions: Sequence[ChoiceQuestion], scores: Sequence[Sequence[float]]) -> float:
    """Share of the questions whose right choice has the highest score; a tie is wrong."""
    right = 0
    for question, row in zip(questions, scores, strict=True):
        others = [score for index, score in enumerate(row) if index != question.answer]
        right += row[question.answer] > max(others)
    return right / len(questions)


def _question(line: str, where: str) -> ChoiceQuestion:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise CorpusError(f"{where} is not JSON ({error})") from error
    if not isinstance(value, dict) or set(value) != _KEYS:
        raise CorpusError(f"{where} must be an object with exactly {', '.join(sorted(_KEYS))}")
    prompt, choices, answer = value["prompt"], value["choices"], value["answer"]
    if not isinstance(prompt, str) or not prompt:
        raise CorpusError(f"{where}: prompt={prompt!r} must be a text that is not empty")
    texts = isinstance(choices, list) and all(isinstance(choice, str) and choice for choice in choices)
    if not texts or len(set(choices)) < 2 or len(set(choices)) != len(choices):
        raise CorpusError(f"{where}: choices={choices!r} must be at least two different texts")
    if not isinstance(answer, int) or isinstance(answer, bool) or not 0 <= answer < len(choices):
        raise CorpusError(f"{where}: answer={answer!r} must be an index from 0 to {len(choices) - 1}")
    return ChoiceQuestion(prompt=prompt, choices=tuple(choices), answer=answer)
