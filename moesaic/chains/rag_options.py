"""How questions are answered from a knowledge base."""

from dataclasses import dataclass, field
from enum import StrEnum

from moesaic.chains.rag_calibration import RagCalibration
from moesaic.errors import InputError

__all__ = ["Judge", "RagMode", "RagOptions"]


class RagMode(StrEnum):
    """Where the words of an answer come from."""

    EXTRACTIVE = "extractive"
    """From the documents alone: the answer is made of spans, every quote is exact by construction."""
    GENERATIVE = "generative"
    """From the model: each sentence is tied to a span and checked, and dropped if no span bears it out."""


class Judge(StrEnum):
    """What the model says about the spans that retrieval found."""

    LIKELIHOOD = "likelihood"
    """How likely each span makes the question (`moesaic.chains.span_likelihood`); suits small models."""
    CHOICE = "choice"
    """Which number of a list answers it, by constrained decoding (`moesaic.chains.span_choice`); suits models that
    follow instructions."""
    NONE = "none"
    """Nothing: retrieval decides alone, and extractive answers need no model."""


@dataclass(frozen=True, kw_only=True)
class RagOptions:
    """The defaults are those that the figures in docs/rag.md were measured with.

    Raises:
        InputError: a value is out of its range.
    """

    mode: RagMode = RagMode.EXTRACTIVE
    """Where the words of an answer come from."""
    judge: Judge = Judge.LIKELIHOOD
    """What the model says about the spans."""
    passages: int = 8
    """Passages that are retrieved, 1 to 100."""
    judged_spans: int = 16
    """Most spans that the model judges, 1 to 200."""
    max_citations: int = 3
    """Most spans that an extractive answer is made of, 1 to 10."""
    citation_share: float = 0.1
    """A further span is cited if its odds are at least this share of the best one's, 0 to 1."""
    threshold: float = 0.5
    """Questions are declined whose score is below: 0 never declines, 1 always does."""
    max_tokens: int = 128
    """Most tokens of a generative answer."""
    min_support: float = 0.65
    """Sentences of a generative answer that no span supports as much as this are dropped, 0 to 1."""
    calibration: RagCalibration = field(default_factory=RagCalibration.load, hash=False, repr=False)
    """What spans and questions are weighed with; `RagCalibration.read` reads what `moesaic calibrate` wrote."""

    def __post_init__(self) -> None:
        """Check the ranges once."""
        object.__setattr__(self, "mode", _member("mode", self.mode, RagMode))
        object.__setattr__(self, "judge", _member("judge", self.judge, Judge))
        for name, low, high in (
            ("passages", 1, 100),
            ("judged_spans", 1, 200),
            ("max_citations", 1, 10),
            ("citation_share", 0, 1),
            ("threshold", 0, 1),
            ("max_tokens", 1, 1_000_000),
            ("min_support", 0, 1),
        ):
            if not low <= (value := getattr(self, name)) <= high:
                raise InputError(f"{name}={value!r} must be {low} to {high}")


def _member(name: str, value: str, kind: type[StrEnum]) -> StrEnum:
    if value not in list(kind):
        raise InputError(f"{name}={value!r} must be one of {', '.join(kind)}")
    return kind(value)
