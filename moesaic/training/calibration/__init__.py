"""Fitting the numbers of cited answers to a model and a base: which span answers, and whether any does.

    findings = await collect(client, base, questions, RagOptions())      # what retrieval and the model find
    fitted = fit_calibration(findings, "handbook, tuned model")          # a `RagCalibration`
    report = cross_validated(findings)                                   # is it better on questions left out?

finding.py            Finding, what there is to weigh for a question; collect
weight_fit.py         the two regressions
calibration_fit.py    both of them as a calibration; how good it is on questions that it was not fitted on

The weights begin at those that Moesaic comes with and move as far as the questions bear out.
"""

from moesaic.training.calibration.calibration_fit import (
    CalibrationQuality,
    CalibrationReport,
    cross_validated,
    fit_calibration,
)
from moesaic.training.calibration.finding import Finding, collect

__all__ = ["CalibrationQuality", "CalibrationReport", "Finding", "collect", "cross_validated", "fit_calibration"]
