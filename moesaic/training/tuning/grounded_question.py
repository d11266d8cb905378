"""Questions on texts, with the spans that answer them: read from what data sets commonly look like.

    SQuAD       .json   {"data": [{"title", "paragraphs": [{"context", "qas": [{"question", "answers", …}]}]}]}
    flat        .jsonl  {"context", "question", "answers": [{"text", "answer_start"}], "title"?}
    passages    .jsonl  {"input", "passages": [{"title", "text"}], "output": [{"answer", "selected_sentences"}]}
    questions   .json   [{"question", "answer"?, "gold": [{"document", "quote"}]}]         on documents of their own

- No answers mean that the texts do not answer. Keys that are not named here are not looked at: these are others' files.
- Every context becomes a document, once.
- Public data sets have a few questions that are blank, or whose answer does not stand in its text. They are left out
  and listed; if they are more than a twentieth, the data is refused. What has no known form is refused in any case.
"""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from moesaic.errors import CorpusError, DocumentError
from moesaic.retrieval import Document
from moesaic.retrieval.gold_span import GoldSpan

__all__ = ["GroundedQuestion", "GroundedSet", "read_grounded"]

_log = logging.getLogger(__name__)

_MOST_TITLE = 200
_MOST_LEFT_OUT = 0.05


@dataclass(frozen=True, kw_only=True)
class GroundedQuestion:
    """A question on a set of documents."""

    text: str
    gold: tuple[GoldSpan, ...] = ()
    """Every span that is known to answer it; none if the documents do not."""
    answer: str = ""
    """The answer in someone's own words, if there is one."""


@dataclass(frozen=True, kw_only=True)
class GroundedSet:
    """Documents, and questions on them."""

    documents: tuple[Document, ...]
    questions: tuple[GroundedQuestion, ...]
    left_out: tuple[str, ...] = ()
    """Where a question was left out, and why."""

    def without_some(self, share: float, seed: int) -> "GroundedSet":
        """Leave out a share of the documents: nothing answers their questions any more.

        For data sets in which every question has an answer: a model that never saw one without declines none.

        Raises:
            CorpusError: the share leaves nothing, or takes nothing.
        """
        count = round(share * len(self.documents))
        if not 0 < count < len(self.documents):
            raise CorpusError(
                f"share={share!r} of {len(self.documents)} documents leaves out {count}: some must go, and some stay"
            )
        gone = {
            self.documents[index].id
            for index in np.random.default_rng(seed).permutation(len(self.documents))[:count].tolist()
        }
        questions = []
        for question in self.questions:
            kept = tuple(span for span in question.gold if span.document not in gone)
            answer = question.answer if len(kept) == len(question.gold) else ""
            questions.append(replace(question, gold=kept, answer=answer))
        documents = tuple(document for document in self.documents if document.id not in gone)
        return replace(self, documents=documents, questions=tuple(questions))


def read_grounded(paths: Iterable[Path], documents: Sequence[Document] = ()) -> GroundedSet:
    """Questions of files, or of all .json and .jsonl files of folders, with the documents that they are on.

    Args:
        paths: the files or folders.
        documents: what the gold quotes of question files stand in.

    Raises:
        CorpusError: a file is unreadable, a record is of no known form, or too many questions do not fit their texts;
            the place is named. There is no question at all.
    """
    reader = _Reader(documents)
    for path in paths:
        files = sorted(file for file in path.iterdir() if file.suffix in _FORMS) if path.is_dir() else [path]
        for file in files:
            if file.suffix not in _FORMS:
                raise CorpusError(f"{file} is no {' or '.join(_FORMS)} file: convert it")
            for where, record in _records(file):
                reader.read(where, record)
    faults = reader.left_out
    if len(faults) > _MOST_LEFT_OUT * (len(faults) + len(reader.questions)):
        raise CorpusError(f"{faults[0]} (and {len(faults) - 1} more like it): correct the data")
    if faults:
        _log.info("%d questions are left out, first %s", len(faults), faults[0])
    if not reader.questions:
        raise CorpusError(
            f"there is no question in {', '.join(map(str, paths)) or 'no file'}: give .json or .jsonl files"
        )
    return GroundedSet(
        documents=tuple(reader.documents.values()), questions=tuple(reader.questions), left_out=tuple(faults)
    )


_FORMS = (".json", ".jsonl")


def _records(file: Path) -> Iterator[tuple[str, Any]]:
    """Records with the place where each stands."""
    try:
        text = file.read_text(encoding="utf-8-sig")
        if file.suffix == ".jsonl":
            for number, line in enumerate(text.split("\n"), start=1):
                if line.strip():
                    yield f"{file}, line {number}", json.loads(line)
            return
        content = json.loads(text)
    except OSError as error:
        raise CorpusError(f"{file} can't be read ({error.strerror}): give another") from error
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{file} is not JSON in UTF-8 ({str(error)[:120]}): correct it") from error
    if isinstance(content, Mapping) and isinstance(content.get("data"), list):
        for article, entry in enumerate(content["data"]):
            paragraphs = _field(f"{file}, data[{article}]", entry, "paragraphs", list)
            for number, paragraph in enumerate(paragraphs):
                where = f"{file}, data[{article}].paragraphs[{number}]"
                for index, asked in enumerate(_field(where, paragraph, "qas", list)):
                    context = {"title": entry.get("title", ""), "context": _field(where, paragraph, "context", str)}
                    yield f"{where}.qas[{index}]", {**_object(f"{where}.qas[{index}]", asked), **context}
    elif isinstance(content, list):
        yield from ((f"{file}, question {number}", record) for number, record in enumerate(content, start=1))
    else:
        raise CorpusError(f"{file} has neither a list of questions nor SQuAD's data: see the forms that are known")


class _Reader:
    """Collects questions and documents."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self.documents = {document.id: document for document in documents}
        self.questions: list[GroundedQuestion] = []
        self.left_out: list[str] = []
        self._by_text: dict[str, str] = {}
        self._lost: list[str] = []

    def read(self, where: str, record: Any) -> None:
        record = _object(where, record)
        self._lost.clear()
        if "gold" in record:
            question = self._on_documents(where, record)
        elif "passages" in record:
            question = self._on_passages(where, record)
        elif "context" in record:
            question = self._on_context(where, record)
        else:
            raise CorpusError(
                f"{where} has neither context, passages nor gold; it has {', '.join(record) or 'nothing'}"
            )
        if not question.text.strip():
            self.left_out.append(f"{where}: the question is blank")
        elif self._lost:
            self.left_out.append(f"{where}: {self._lost[0][:60]!r} does not stand in its text")
        else:
            self.questions.append(question)

    def _on_context(self, where: str, record: Mapping[str, Any]) -> GroundedQuestion:
        context = _field(where, record, "context", str)
        document = self._document(where, str(record.get("title") or ""), context)
        answers = _field(where, record, "answers", list)
        if record.get("is_impossible") and answers:
            raise CorpusError(f"{where} is impossible and has {len(answers)} answers: it can't be both")
        gold: list[GoldSpan] = []
        for index, answer in enumerate(answers):
            here = f"{where}.answers[{index}]"
            text, start = _field(here, answer, "text", str), _field(here, answer, "answer_start", int)
            gold += self._located(document, context, text, start)
        return GroundedQuestion(text=_field(where, record, "question", str), gold=tuple(dict.fromkeys(gold)))

    def _on_passages(self, where: str, record: Mapping[str, Any]) -> GroundedQuestion:
        texts = []
        passages = _field(where, record, "passages", list)
        if not passages:
            raise CorpusError(f"{where} has no passages: give the texts that it is on")
        for index, passage in enumerate(passages):
            here = f"{where}.passages[{index}]"
            text = _field(here, passage, "text", str)
            texts.append((self._document(here, str(passage.get("title") or ""), text), text))
        gold: list[GoldSpan] = []
        answer = ""
        for index, output in enumerate(_field(where, record, "output", list)):
            here = f"{where}.output[{index}]"
            given = _field(here, output, "answer", str).strip()
            answer = answer or given
            if not given:
                continue
            for sentence in _field(here, output, "selected_sentences", list):
                holding = next((number for number, (_, text) in enumerate(texts) if sentence.strip() in text), 0)
                gold += self._located(*texts[holding], sentence.strip(), 0)
        return GroundedQuestion(
            text=_field(where, record, "input", str), gold=tuple(dict.fromkeys(gold)), answer=answer
        )

    def _on_documents(self, where: str, record: Mapping[str, Any]) -> GroundedQuestion:
        gold: list[GoldSpan] = []
        for index, span in enumerate(_field(where, record, "gold", list)):
            here = f"{where}.gold[{index}]"
            name, quote = _field(here, span, "document", str), _field(here, span, "quote", str)
            if name not in self.documents:
                raise CorpusError(
                    f"{here}: there is no document {name!r}; give the documents that the questions are on"
                )
            gold += self._located(name, self.documents[name].text, quote, 0)
        return GroundedQuestion(
            text=_field(where, record, "question", str),
            gold=tuple(dict.fromkeys(gold)),
            answer=str(record.get("answer") or "") if gold else "",
        )

    def _located(self, document: str, text: str, words: str, start: int) -> list[GoldSpan]:
        """The span of the words: at `start`, or at the occurrence that is nearest to it; none if they are nowhere."""
        places = []
        place = text.find(words) if words.strip() else -1
        while place >= 0:
            places.append(place)
            place = text.find(words, place + 1)
        if not places:
            self._lost.append(words)
            return []
        nearest = min(places, key=lambda found: abs(found - start))
        return [GoldSpan(document, nearest, nearest + len(words))]

    def _document(self, where: str, title: str, text: str) -> str:
        if text not in self._by_text:
            shown = "".join(letter for letter in title if letter.isprintable())[:_MOST_TITLE].strip() or "text"
            name = f"{shown} ({len(self._by_text) + 1})"
            try:
                self.documents[name] = Document(id=name, title=shown, text=text)
            except DocumentError as error:
                raise CorpusError(f"{where}: {error}") from error
            self._by_text[text] = name
        return self._by_text[text]


def _object(where: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise CorpusError(f"{where} is {str(value)[:40]!r}, not an object")
    return value


def _field(where: str, record: Any, name: str, kind: type) -> Any:
    value = _object(where, record).get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise CorpusError(f"{where}.{name} is {str(value)[:40]!r}, not of type {kind.__name__}")
    return value
