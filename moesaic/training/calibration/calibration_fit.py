"""A calibration from findings, and how good it is on questions that it was not fitted on.

How strongly the weights are held to where they began is itself chosen by cross-validation: whatever predicts the
questions that a fit left out best. With few questions, or with such as bear no change out, that is firmly.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from moesaic.chains.rag_calibration import RagCalibration, answer_chance
from moesaic.errors import CorpusError
from moesaic.training.calibration.finding import Finding
from moesaic.training.calibration.weight_fit import fit_answerable, fit_spans, span_scores

__all__ = ["CalibrationQuality", "CalibrationReport", "cross_validated", "fit_calibration"]

_FEWEST = 10
_FOLDS = 5
_DIGITS = 4
_RIDGES = (1000.0, 100.0, 30.0, 10.0, 3.0, 1.0)
_LEAST_CHANCE = 1e-12


@dataclass(frozen=True, kw_only=True)
class CalibrationQuality:
    """How a calibration does on questions."""

    decline_f1: float
    """F1 of declining at the threshold 0.5, where the questions that nothing answers are those to decline."""
    log_loss: float
    """Mean negative log-probability of what was the case, in nats: at most 0.69 for a coin."""
    first_span: float
    """Share of the questions with a span that answers for which the first span does."""


@dataclass(frozen=True, kw_only=True)
class CalibrationReport:
    """Beside each other, on the same questions."""

    answerable: int
    found: int
    """Answerable questions for which a span that answers was among those that the model judged."""
    unanswerable: int
    before: CalibrationQuality
    """Of the calibration that the fit began with."""
    after: CalibrationQuality
    """Of fits to the other questions, five times four fifths of them."""

    @property
    def better(self) -> bool:
        """Whether the fit predicts better what can be answered, on questions that it has not seen."""
        return self.after.log_loss < self.before.log_loss

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self) | {"better": self.better}


def fit_calibration(
    findings: Sequence[Finding], fitted_on: str, *, start: RagCalibration | None = None
) -> RagCalibration:
    """The weights of `start` moved to findings; scales of embedders are kept as they are.

    Args:
        findings: at least ten questions with an answer that was found, and ten without one.
        fitted_on: what they are, in words.
        start: where the weights begin; the calibration that Moesaic comes with if none is given.

    Raises:
        CorpusError: there are too few questions of a kind.
    """
    _check_count(findings, _FEWEST)
    return _fitted(findings, fitted_on, start or RagCalibration.load())


def cross_validated(
    findings: Sequence[Finding], *, start: RagCalibration | None = None, folds: int = _FOLDS, seed: int = 0
) -> CalibrationReport:
    """Compare `start` with fits, each on the questions that its fit left out.

    Every fold has its share of both kinds of questions. Each question is judged once, by the fit of the other folds.

    Raises:
        CorpusError: there are too few questions of a kind.
    """
    start = start or RagCalibration.load()
    _check_count(findings, max(_FEWEST, folds))
    fold_of = _dealt(findings, folds, seed)
    before, after = list[_Outcome](), list[_Outcome]()
    for fold in range(folds):
        others = [finding for finding, own in zip(findings, fold_of, strict=True) if own != fold]
        fitted = _fitted(others, "", start)
        for finding, own in zip(findings, fold_of, strict=True):
            if own == fold:
                before.append(_outcome(finding, start))
                after.append(_outcome(finding, fitted))
    return CalibrationReport(
        answerable=sum(finding.answerable for finding in findings),
        found=sum(any(finding.found) for finding in findings),
        unanswerable=sum(not finding.answerable for finding in findings),
        before=_quality(before),
        after=_quality(after),
    )


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    answerable: bool
    probability: float
    first_right: bool | None
    """None if no span answers."""


def _fitted(findings: Sequence[Finding], fitted_on: str, start: RagCalibration) -> RagCalibration:
    findings = [finding for finding in findings if finding.spans]  # without a span the chain declines unasked
    return replace(
        start,
        fitted_on=fitted_on,
        span_weights=_rounded(_held(findings, _span_fit(start), _span_loss)),
        answerable_weights=_rounded(_held(findings, _answer_fit(start.answerable_weights), _answer_loss)),
        unjudged_weights=_rounded(_held(findings, _answer_fit(start.unjudged_weights), _answer_loss)),
    )


_Fit = Callable[[Sequence[Finding], float], dict[str, float]]
"""Weights of findings, at a strength of the ridge."""
_Loss = Callable[[Finding, Mapping[str, float]], float]
"""What weights lose on a finding, in nats."""


def _span_fit(start: RagCalibration) -> _Fit:
    return lambda findings, ridge: fit_spans(findings, start=start.span_weights, ridge=ridge)


def _answer_fit(start: Mapping[str, float]) -> _Fit:
    features = tuple(name for name in start if name != "intercept")
    return lambda findings, ridge: fit_answerable(findings, features, start=start, ridge=ridge)


def _span_loss(finding: Finding, weights: Mapping[str, float]) -> float:
    if not any(finding.found):
        return 0.0
    scores = span_scores(finding, weights)
    chances = np.exp(scores - scores.max())
    return -math.log(max(float(chances[list(finding.found)].sum() / chances.sum()), _LEAST_CHANCE))


def _answer_loss(finding: Finding, weights: Mapping[str, float]) -> float:
    chance = answer_chance(weights, finding.features)
    return -finding.weight * math.log(chance if finding.answerable else 1 - chance)


def _held(findings: Sequence[Finding], fit: _Fit, loss: _Loss) -> dict[str, float]:
    """The fit at the ridge that loses least on questions that it left out; the firmer one of equals."""
    fold_of = _dealt(findings, _FOLDS, seed=1)
    parts = [
        (
            [finding for finding, own in zip(findings, fold_of, strict=True) if own != fold],
            [finding for finding, own in zip(findings, fold_of, strict=True) if own == fold],
        )
        for fold in range(_FOLDS)
    ]

    def lost(ridge: float) -> float:
        return math.fsum(
            loss(finding, weights) for others, own in parts for weights in [fit(others, ridge)] for finding in own
        )

    return fit(findings, min(_RIDGES, key=lost))


def _rounded(weights: dict[str, float]) -> dict[str, float]:
    return {name: round(weight, _DIGITS) for name, weight in weights.items()}


def _check_count(findings: Sequence[Finding], fewest: int) -> None:
    found = sum(any(finding.found) for finding in findings)
    unanswerable = sum(not finding.answerable for finding in findings)
    if min(found, unanswerable) < fewest:
        raise CorpusError(
            f"{found} questions have an answer that was found, {unanswerable} have none: a calibration takes at least "
            f"{fewest} of each; write more"
        )


def _dealt(findings: Sequence[Finding], folds: int, seed: int) -> list[int]:
    """The fold of each question; each kind of question is shuffled and dealt out by itself."""
    kinds = [(finding.answerable, any(finding.found)) for finding in findings]
    fold_of, next_fold = [0] * len(findings), 0
    for kind in sorted(set(kinds)):
        members = [index for index, each in enumerate(kinds) if each == kind]
        for index in np.random.default_rng(seed).permutation(len(members)).tolist():
            fold_of[members[index]] = next_fold % folds
            next_fold += 1
    return fold_of


def _outcome(finding: Finding, calibration: RagCalibration) -> _Outcome:
    first = None
    if any(finding.found):
        scores = [calibration.span_score(span) for span in finding.spans]
        first = finding.found[scores.index(max(scores))]
    return _Outcome(
        answerable=finding.answerable,
        probability=calibration.answer_probability(finding.features),
        first_right=first,
    )


def _quality(outcomes: Sequence[_Outcome]) -> CalibrationQuality:
    declined = [each for each in outcomes if each.probability < 0.5]
    rightly = sum(not each.answerable for each in declined)
    to_decline = sum(not each.answerable for each in outcomes)
    firsts = [each.first_right for each in outcomes if each.first_right is not None]
    return CalibrationQuality(
        decline_f1=2 * rightly / (len(declined) + to_decline),
        log_loss=-sum(math.log(each.probability if each.answerable else 1 - each.probability) for each in outcomes)
        / len(outcomes),
        first_span=sum(firsts) / len(firsts),
    )
