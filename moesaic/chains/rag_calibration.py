"""The fitted numbers of cited answers: weights, and where they come from.

Those that Moesaic comes with lie in `rag_calibration.json`. How sharply a model judges, and how a base words things,
differs: `moesaic calibrate` fits the weights to a model and a base, with questions on that base, into a file of the
same form.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Self

from moesaic.errors import InputError

__all__ = ["RagCalibration", "answer_chance"]

_FILE = "rag_calibration.json"
_MOST_ODDS = 30.0  # beyond, the probability of the opposite is 0 in double precision


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
        return cls._of(json.loads(resources.files("moesaic.chains").joinpath(_FILE).read_text(encoding="utf-8")))

    @classmethod
    def read(cls, path: Path) -> Self:
        """The numbers in a file that `moesaic calibrate` wrote.

        Raises:
            InputError: there is no such file, or something in it is missing, unknown or no finite number.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(
                f"calibration {path} can't be read ({error.strerror}): give what calibrate wrote"
            ) from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"calibration {path} is not JSON in UTF-8: give what `moesaic calibrate` wrote") from error
        if fault := _fault("", values, cls.load().to_json()):
            raise InputError(f"calibration {path}: {fault}; write it again with `moesaic calibrate`")
        return cls._of(values)

    @classmethod
    def _of(cls, values: Mapping[str, Any]) -> Self:
        low, high = values["probe_shares"]
        ends = {
            digest: {language: (pair[0], pair[1]) for language, pair in pairs.items()}
            for digest, pairs in values["embedders"].items()
        }
        return cls(**{**values, "probe_shares": (low, high), "embedders": ends})

    def to_json(self) -> dict[str, Any]:
        """As `read` takes it."""
        return asdict(self)

    def span_score(self, features: Mapping[str, float]) -> float:
        """The weighted sum of a span's features; differences are log-odds of holding the answer."""
        return sum(self.span_weights[name] * value for name, value in features.items())

    def answer_probability(self, features: Mapping[str, float]) -> float:
        """Estimated probability, 0 to 1, that something answers a question; without `contrast`, by other weights."""
        return answer_chance(self.answerable_weights if "contrast" in features else self.unjudged_weights, features)


def answer_chance(weights: Mapping[str, float], features: Mapping[str, float]) -> float:
    """The probability of a logistic regression, never quite 0 or 1; features without a weight are not looked at."""
    log_odds = weights["intercept"] + sum(
        weight * features[name] for name, weight in weights.items() if name != "intercept"
    )
    return 1 / (1 + math.exp(-max(-_MOST_ODDS, min(_MOST_ODDS, log_odds))))


def _fault(name: str, value: Any, sound: Any) -> str | None:
    """What keeps a value from having the form of a sound one; None if nothing does."""
    if isinstance(sound, Mapping):
        if not isinstance(value, Mapping):
            return f"{name or 'the whole'} is {str(value)[:40]!r}, not an object"
        inner = {each: next(iter(sound.values())) for each in value} if name == "embedders" else sound
        if different := sorted(inner.keys() ^ value.keys()):
            return f"{name}{'.' * bool(name)}{different[0]} is {'unknown' if different[0] in value else 'missing'}"
        found = (_fault(f"{name}{'.' * bool(name)}{each}", value[each], inner[each]) for each in inner)
        return next((fault for fault in found if fault), None)
    if isinstance(sound, str):
        return None if isinstance(value, str) else f"{name} is {str(value)[:40]!r}, not a text"
    if isinstance(sound, tuple | list):
        pair = (
            isinstance(value, list) and len(value) == len(sound) and not any(_fault(name, each, 0.0) for each in value)
        )
        return None if pair else f"{name} is {str(value)[:40]!r}, not {len(sound)} numbers"
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return None if number else f"{name} is {str(value)[:40]!r}, not a finite number"
