"""The figures of cited answers, by hand; fitting finds what was planted; the whole of it with a scripted engine."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.calibrate_rag import calibration_of, weighed
from benchmarks.rag_quality import Answered, measure, quality_claims, quality_of
from benchmarks.rag_questions import CALIBRATION, PYTHON_REFERENCE, Question, load_questions
from benchmarks.rag_scales import answer_ends, rescaled
from moesaic.chains import Citation, CitedAnswer, RagCalibration, RagOptions
from moesaic.retrieval.gold_span import GoldSpan
from moesaic.training.calibration import Finding
from moesaic.training.calibration.weight_fit import fit_answerable, fit_spans
from tests.chains.rag_scene import asking, made_base
from tests.training.calibration.findings import made_findings

QUESTIONS: list[dict[str, Any]] = [
    {"question": "Where does the cat sleep?", "gold": [{"document": "pets", "quote": "The cat sleeps on the mat."}]},
    {"question": "Which port is it?", "gold": [{"document": "install", "quote": "listens on port 8080"}]},
    {"question": "Who won the match?", "gold": []},
]


def answered(name: str, *, answerable: bool, declined: bool, spans: tuple[tuple[int, int], ...] = ()) -> Answered:
    gold = (GoldSpan("a", 100, 200),) if answerable else ()
    question = Question(id=name, split="test", language="en", text="?", answerable=answerable, gold=gold)
    citations = tuple(
        Citation(document="a", start=start, end=end, quote="x", answer_start=0, answer_end=1, support=1.0)
        for start, end in spans
    )
    score = 0.25 if declined else 0.75
    answer = CitedAnswer(question="?", answer="x", declined=declined, score=score, citations=citations)
    return Answered(question=question, answer=answer, seconds=1.0, exact=len(spans))


def test_the_figures_of_five_answers() -> None:
    quality = quality_of(
        [
            answered("hit", answerable=True, declined=False, spans=((90, 150), (300, 310))),
            answered("missed", answerable=True, declined=False, spans=((0, 90),)),
            answered("declined wrongly", answerable=True, declined=True),
            answered("declined rightly", answerable=False, declined=True),
            answered("answered wrongly", answerable=False, declined=False, spans=((100, 200),)),
        ]
    )
    assert (quality.questions, quality.citations, quality.exactness) == (5, 4, 1.0)
    assert quality.gold_hit == pytest.approx(1 / 3)
    assert quality.gold_hit_if_answered == 0.5
    assert quality.citation_precision == pytest.approx(1 / 3)
    assert (quality.refusal_precision, quality.refusal_recall, quality.refusal_f1) == (0.5, 0.5, 0.5)
    assert quality.calibration_error == pytest.approx((3 * 0.0625 + 2 * 0.5625) / 5)
    claims = {claim.claim: claim for claim in quality_claims(quality)}
    assert claims["citation_exactness"].holds
    assert set(claims) == {"citation_exactness", "gold_span_hit", "refusal_f1"}


def test_an_inexact_quote_fails_its_claim() -> None:
    wrong = answered("wrong", answerable=True, declined=False, spans=((100, 200), (0, 10)))
    quality = quality_of([Answered(question=wrong.question, answer=wrong.answer, seconds=1.0, exact=1)])
    assert quality.exactness == 0.5
    assert not quality_claims(quality)[0].holds


def test_what_was_planted_is_found_and_no_weight_has_the_wrong_sign(tmp_path: Path) -> None:
    made = made_findings(200)
    english, chinese = ([each for each in made if each.language == language] for language in ("en", "zh"))
    ends = [answer_ends(chosen) for chosen in (english, chinese)]
    assert ends[1] == pytest.approx([0.5 + 0.25 * end for end in ends[0]], abs=0.1)
    made = [rescaled(finding, ends[finding.language == "zh"]) for finding in made]
    spans = fit_spans(made)
    assert spans["likelihood"] > 3 * max(weight for name, weight in spans.items() if name != "likelihood")
    assert min(spans.values()) >= 0
    weights = fit_answerable(made)
    assert weights["contrast"] > 0
    assert weights["similarity"] > 0
    assert weights["absent_share"] < 0
    Finding.write(tmp_path / "findings.json", made)
    assert Finding.read(tmp_path / "findings.json") == made
    written = json.loads(
        json.dumps(
            calibration_of(made, "a test", {"digest": {"en": (0.0, 1.0), "zh": (0.2, 0.8), "cross": (0.1, 0.9)}})
        )
    )
    current = RagCalibration.load()
    assert written["span_weights"].keys() == current.span_weights.keys()
    assert written["answerable_weights"].keys() == current.answerable_weights.keys()


async def test_questions_are_asked_and_found(tmp_path: Path) -> None:
    path = tmp_path / "questions.json"
    common = {"split": "test", "language": "en"}
    path.write_text(
        json.dumps([value | common | {"id": str(n), "answerable": n < 2} for n, value in enumerate(QUESTIONS)])
    )
    with made_base(tmp_path / "kb") as base:
        questions = load_questions([path], base)
        async with asking(base) as scene:
            done = await measure(scene.chain.client, base, questions, RagOptions(threshold=0.0))
            kept = await weighed(scene.chain.client, base, questions)
    quality = quality_of(done)
    assert (quality.exactness, quality.gold_hit, quality.refusal_f1) == (1.0, 1.0, 0.0)
    assert [any(finding.found) for finding in kept] == [True, True, False]


def test_the_questions_for_fitting_are_others_than_those_that_are_reported_on(tmp_path: Path) -> None:
    ours = json.loads(CALIBRATION.read_text(encoding="utf-8"))
    reported = {question["question"] for question in json.loads(PYTHON_REFERENCE.read_text(encoding="utf-8"))}
    assert not reported & {question["question"] for question in ours}
    assert {question["split"] for question in ours} == {"fit"}
    assert all(question["answerable"] == bool(question["gold"]) for question in ours)
