"""Questions about a knowledge base, with the spans that answer them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from moesaic.retrieval import KnowledgeBase
from moesaic.retrieval.gold_span import GoldSpan

__all__ = ["CALIBRATION", "PYTHON_REFERENCE", "Question", "load_questions"]

PYTHON_REFERENCE = Path(__file__).parent.parent / "tests/data/python_reference_questions.json"
"""40 questions on Python's reference that it answers and 40 that it does not, one half of each for calibration."""

CALIBRATION = Path(__file__).parent / "rag_calibration_questions.json"
"""More of the same kind, to fit with: none of them is ever reported on."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question, and every span that answers it; none if nothing in the base does."""

    id: str
    split: str
    language: str
    text: str
    answerable: bool
    gold: tuple[GoldSpan, ...] = ()

    @classmethod
    def from_json(cls, value: dict[str, object], texts: dict[str, str]) -> Self:
        """Find the quotes of a question in the documents; a quote that another release worded otherwise is left out."""
        gold = []
        for span in value["gold"]:  # type: ignore[attr-defined]
            text = texts.get(span["document"], "")
            start = text.find(span["quote"])
            if start >= 0:
                gold.append(GoldSpan(span["document"], start, start + len(span["quote"])))
        return cls(
            id=str(value["id"]),
            split=str(value["split"]),
            language=str(value["language"]),
            text=str(value["question"]),
            answerable=bool(value["answerable"]),
            gold=tuple(gold),
        )


def load_questions(paths: Iterable[Path], base: KnowledgeBase, splits: Sequence[str] = ()) -> list[Question]:
    """The questions of files, those of some splits only if any are named."""
    texts = {document.id: base.text(document.id) for document in base.documents()}
    questions = [
        Question.from_json(value, texts) for path in paths for value in json.loads(path.read_text(encoding="utf-8"))
    ]
    return [question for question in questions if not splits or question.split in splits]
