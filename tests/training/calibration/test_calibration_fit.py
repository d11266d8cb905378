"""Weights move to what questions bear out, no further, and what is reported comes from questions that were left out."""

import math
from dataclasses import replace

import pytest

from moesaic.chains import RagCalibration
from moesaic.errors import CorpusError
from moesaic.training.calibration import Finding, cross_validated, fit_calibration
from moesaic.training.calibration.weight_fit import fit_answerable, fit_spans
from tests.training.calibration.findings import made_findings


def test_many_questions_move_the_weights_and_few_leave_them_near() -> None:
    shipped = RagCalibration.load()
    many = fit_calibration(made_findings(200), "many")
    few = fit_calibration(made_findings(20), "few")
    assert many.fitted_on == "many"
    assert many.embedders == shipped.embedders
    assert many.probe_shares == shipped.probe_shares
    moved = [abs(each.span_weights["likelihood"] - shipped.span_weights["likelihood"]) for each in (few, many)]
    assert 0 < moved[0] < moved[1]
    assert many.span_weights["likelihood"] > 3 * many.span_weights["coverage"]
    assert many.answerable_weights["contrast"] > shipped.answerable_weights["contrast"]
    assert set(many.unjudged_weights) == {"similarity", "absent_share", "intercept"}


def test_a_ridge_without_end_gives_back_where_the_fit_began() -> None:
    shipped = RagCalibration.load()
    spans = fit_spans(made_findings(100), start=shipped.span_weights, ridge=1e9)
    assert spans == pytest.approx(dict(shipped.span_weights), abs=1e-4)
    weights = fit_answerable(made_findings(100), start=shipped.answerable_weights, ridge=1e9)
    assert weights == pytest.approx(dict(shipped.answerable_weights), abs=1e-4)


def test_the_spans_weights_are_where_the_likelihood_is_flat() -> None:
    """The slope of the penalised likelihood, by differences, is 0 in every direction: it is the optimum."""
    findings = [each for each in made_findings(80) if any(each.found)]
    fitted = fit_spans(findings)
    spread = {name: _spread([span[name] for finding in findings for span in finding.spans]) for name in fitted}

    def value(weights: dict[str, float]) -> float:
        total = 0.0
        for finding in findings:
            scores = [sum(weights[name] * span[name] for name in weights) for span in finding.spans]
            whole = math.fsum(math.exp(score) for score in scores)
            right = math.fsum(math.exp(s) for s, found in zip(scores, finding.found, strict=True) if found)
            total += math.log(right / whole)
        return total - 0.5 * math.fsum((weights[name] * spread[name]) ** 2 for name in weights)

    for name, weight in fitted.items():
        if weight:
            step = 1e-4 / spread[name]
            slope = (value(fitted | {name: weight + step}) - value(fitted | {name: weight - step})) / 2e-4
            assert abs(slope) < 1e-3, (name, slope)


def _spread(values: list[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))


def test_the_report_is_about_questions_that_were_left_out() -> None:
    findings = made_findings(120)
    report = cross_validated(findings)
    assert (report.answerable, report.found, report.unanswerable) == (60, 60, 60)
    assert report.better
    assert report.after.first_span > 0.9 > report.before.first_span
    assert report.to_json()["better"] is True
    assert report == cross_validated(findings)

    # Labels that nothing predicts: a fit can look good on its own questions alone, and the report must not.
    asked, other = made_findings(60, nats=0.0, seed=1), reversed(made_findings(60, nats=0.0, seed=2))
    noise = [
        replace(finding, answerable=each.answerable, found=each.found)
        for finding, each in zip(asked, other, strict=True)
    ]
    assert cross_validated(noise).after.log_loss > 0.6


def test_questions_that_bear_nothing_out_leave_the_weights_where_they_began() -> None:
    shipped = RagCalibration.load()
    findings = [
        replace(finding, spans=tuple(dict.fromkeys(span, 0.0) for span in finding.spans), absent_share=0.5)
        for finding in made_findings(40)
    ]
    fitted = fit_calibration(findings, "nothing to tell by")
    assert fitted.span_weights == pytest.approx(dict(shipped.span_weights), abs=1e-3)


def test_a_question_for_which_nothing_was_found_is_declined_as_the_chain_does() -> None:
    nothing = Finding(
        question="?",
        answerable=False,
        absent_share=1.0,
        spans=(),
        found=(),
        embedder="d",
        language="en",
        ends=(0.0, 1.0),
    )
    report = cross_validated([*made_findings(40), nothing])
    assert report.unanswerable == 21
    fitted = fit_calibration([*made_findings(40), nothing], "with nothing")
    assert replace(fitted, fitted_on="") == fit_calibration(made_findings(40), "")


@pytest.mark.parametrize(
    ("kept", "reason"),
    [
        (lambda finding: finding.answerable, "30 questions have an answer that was found, 0 have none"),
        (lambda finding: not finding.answerable, "0 questions have an answer that was found, 30 have none"),
    ],
)
def test_too_few_questions_of_a_kind_are_refused(kept: object, reason: str) -> None:
    findings = [finding for finding in made_findings(60) if kept(finding)]  # type: ignore[operator]
    with pytest.raises(CorpusError, match=reason):
        fit_calibration(findings, "half")
    with pytest.raises(CorpusError, match="at least 10 of each"):
        cross_validated(findings)
