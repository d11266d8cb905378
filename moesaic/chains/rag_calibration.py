"""The fitted numbers of cited answers: weights, and where they come from.

They lie in `rag_calibration.json` and are written by `python -m benchmarks.calibrate_rag`, never by hand.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Self

__all__ = ["RagCalibration"]

_FILE = "rag_calibration.json"


@dataclass(frozen=True, kw_only=True)
class RagCalibration:
    """What the scores of spans and of answers are computed with."""

    fitted_on: str
    """Base, embedder, model and questions of the fit, in words."""
    span_weights: Mapping[str, float]
    """Weight of each feature of a span (`moesaic.chains.evidence`), in nats of log-odds."""
    answerable_weights: Mapping[str, float]
    """Weight of each feature of a question, and `intercept`, in nats of log-odds."""
    unjudged_weights: Mapping[str, float]
    """The same for questions where the model was not asked."""
    probe_shares: tuple[float, float]
    """Where the ends lie between those that probes measure, for embedders that are not known."""
    embedders: Mapping[str, Mapping[str, tuple[float, float]]]
    """For known embedders, by digest, and languages: the ends of `moesaic.chains.embedder_scale`."""

    @classmethod
    @cache
    def load(cls) -> Self:
        """The numbers that this version came with."""
        values = json.loads(resources.files("moesaic.chains").joinpath(_FILE).read_text(encoding="utf-8"))
        return cls(
            fitted_on=values["fitted_on"],
            span_weights=values["span_weights"],
            answerable_weights=values["answerable_weights"],
            unjudged_weights=values["unjudged_weights"],
            probe_shares=(values["probe_shares"][0], values["probe_shares"][1]),
            embedders={
                digest: {language: (low, high) for language, (low, high) in ends.items()}
                for digest, ends in values["embedders"].items()
            },
        )
