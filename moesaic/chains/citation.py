"""An answer with its citations: which part of it rests on which span of which document.

A quote is never text of a model: it is cut from the knowledge base at the offsets that the citation names.
"""

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["MAX_QUOTE", "AnswerPart", "Citation", "CitedAnswer"]

MAX_QUOTE = 300
"""Most characters of a quote."""


@dataclass(frozen=True, kw_only=True)
class Citation:
    """A span of a document, and the part of the answer that it supports."""

    document: str
    """Id of the document."""
    start: int
    end: int
    """The span of the stored text, in code points: `base.text(document)[start:end]` is `quote`, exactly."""
    quote: str
    """1 to 300 characters."""
    answer_start: int
    answer_end: int
    """The part of `CitedAnswer.answer` that this span supports."""
    support: float
    """How well the span bears out that part, 0 to 1; 1 where the part is the quote itself."""


@dataclass(frozen=True, kw_only=True)
class CitedAnswer:
    """What a question got."""

    question: str
    answer: str
    """Empty where it was declined."""
    declined: bool
    """Whether the knowledge base does not hold an answer, as far as the chain can tell."""
    score: float
    """Estimated probability, 0 to 1, that the retrieved passages hold an answer."""
    citations: tuple[Citation, ...] = ()
    """In the order of the parts of the answer; empty where it was declined."""
    dropped: tuple[str, ...] = ()
    """Sentences of a generative answer that no span bears out; they are no part of `answer`."""
    model: str = ""
    """The model that took part; empty if none was asked."""
    weight_version: str = ""
    """Its weights."""

    def to_json(self) -> dict[str, Any]:
        """The answer as plain JSON values."""
        citations = [asdict(citation) for citation in self.citations]
        return asdict(self) | {"citations": citations, "dropped": list(self.dropped)}


@dataclass(frozen=True, kw_only=True)
class AnswerPart:
    """One event of a streamed answer: new text, new citations, and at last the whole answer.

    Parts can be added, as LangChain does with what a stream gives: the sum of all has the whole text.
    """

    text: str = ""
    citations: tuple[Citation, ...] = ()
    answer: CitedAnswer | None = None
    """Set in the last part alone."""

    def __add__(self, other: "AnswerPart") -> "AnswerPart":
        return AnswerPart(
            text=self.text + other.text,
            citations=self.citations + other.citations,
            answer=other.answer or self.answer,
        )
