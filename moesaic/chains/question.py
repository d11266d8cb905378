"""The question that a chain takes: text, or a mapping that holds it."""

from collections.abc import Mapping
from typing import Any

from moesaic.errors import InputError

__all__ = ["MAX_QUESTION", "checked_question"]

MAX_QUESTION = 1000
"""Most characters of a question; what is longer is a text, not a question."""


def checked_question(given: str | Mapping[str, Any]) -> str:
    """The question without white space around it.

    Args:
        given: the question, or a mapping that has it under `question`.

    Raises:
        InputError: there is no question, it is blank or too long, or no text that UTF-8 can write.
    """
    question = given.get("question") if isinstance(given, Mapping) else given
    if not isinstance(question, str):
        raise InputError(f"{given!r:.80} is no question: give text, or a mapping with the key 'question'")

    question = question.strip()
    if not question:
        raise InputError("the question is blank; ask something")
    if len(question) > MAX_QUESTION:
        raise InputError(f"the question has {len(question)} characters, at most {MAX_QUESTION} are taken: shorten it")

    try:
        question.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{question[:40]!r} is not text in UTF-8 ({error.reason}): convert it first") from error
    return question.replace("\0", " ")
