"""Examples that teach a model to serve cited answers: what it is asked by `RagChain`, answered as it should be.

    likelihood   span, then question: a model that has learnt to ask what a span answers tells better which span does
    choice       numbered spans and a question: the number of the one that answers
    written      the same, and the sentences that answer; or that nothing does, for questions without an answer

- Everything that surrounds an answer comes from the chain's own code and from a search in a real knowledge base, with
  the distractors and the order that the served model will meet (`moesaic.training.tuning.served_prompts`).
- An answer is the text of the documents rather than someone's own words, unless the chain itself would keep those: it
  checks sentences against spans, and what it would drop is not taught.
- Of a question whose span was not retrieved there is nothing to learn but to guess; it is left out and counted.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from moesaic.chains.embedder_scale import language_of
from moesaic.chains.evidence import Evidence, RankedSpan
from moesaic.chains.rag_options import RagOptions
from moesaic.chains.span_likelihood import affordable
from moesaic.errors import RecipeError
from moesaic.retrieval import KnowledgeBase, sentences
from moesaic.retrieval.gold_span import GoldSpan, hits
from moesaic.training.tuning.conversation import Example
from moesaic.training.tuning.grounded_question import GroundedQuestion
from moesaic.training.tuning.served_prompts import choice_conversation, likelihood_completion, written_conversation

__all__ = [
    "CHOICES",
    "REFUSALS",
    "GroundedExamples",
    "GroundedOptions",
    "ServedFormat",
    "grounded_examples",
]

REFUSALS = {"en": "The passages do not answer this question.", "zh": "这些段落没有回答这个问题。"}
"""What is written where nothing answers; no span bears it out, so that the chain declines."""

CHOICES = 8
"""Spans that `Judge.CHOICE` is shown."""


class ServedFormat(StrEnum):
    """A way in which a chain asks."""

    LIKELIHOOD = "likelihood"
    """`Judge.LIKELIHOOD`."""
    CHOICE = "choice"
    """`Judge.CHOICE`."""
    WRITTEN = "written"
    """`RagMode.GENERATIVE`."""


@dataclass(frozen=True, kw_only=True)
class GroundedOptions:
    """Which examples are made.

    Raises:
        RecipeError: no format, or an unknown one.
    """

    formats: tuple[ServedFormat, ...] = tuple(ServedFormat)
    """One example of each for a question, where it gives one."""
    rag: RagOptions = field(default_factory=RagOptions)
    """How the chain will search."""
    own_words: bool = True
    """Whether answers in someone's own words are taught where the chain would keep all of them."""

    def __post_init__(self) -> None:
        """Know the formats."""
        if not self.formats or any(name not in list(ServedFormat) for name in self.formats):
            raise RecipeError(f"formats={self.formats!r} must be some of {', '.join(ServedFormat)}")
        object.__setattr__(self, "formats", tuple(ServedFormat(name) for name in self.formats))


@dataclass(frozen=True, kw_only=True)
class GroundedExamples:
    """What came of questions."""

    examples: tuple[Example, ...]
    made: Counter[str]
    """Examples of each format; refusals are counted as `refused`, and in `written` too."""
    left_out: Counter[str]
    """Why how many examples were not made."""


def grounded_examples(
    base: KnowledgeBase, questions: Iterable[GroundedQuestion], options: GroundedOptions | None = None
) -> GroundedExamples:
    """Ask a base all questions, and make examples of what is found.

    Raises what searching a `KnowledgeBase` raises. Needs no server and no model but the base's embedder.
    """
    return asyncio.run(_Maker(base, options or GroundedOptions()).make(questions))


class _Maker:
    def __init__(self, base: KnowledgeBase, options: GroundedOptions) -> None:
        self._base = base
        self._options = options
        self._examples: list[Example] = []
        self._made: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()

    async def make(self, questions: Iterable[GroundedQuestion]) -> GroundedExamples:
        for question in questions:
            await self._ask(question)
        return GroundedExamples(examples=tuple(self._examples), made=self._made, left_out=self._left_out)

    async def _ask(self, question: GroundedQuestion) -> None:
        rag, formats = self._options.rag, self._options.formats
        evidence = Evidence.gather(self._base, question.text, rag.passages, rag.calibration)
        if not evidence.spans:
            self._left_out["nothing was found"] += 1
            return

        shown = affordable(evidence.spans, min(rag.judged_spans, CHOICES))
        answering = [span for span in evidence.spans if hits(span.span, question.gold)]
        if question.gold and not answering:
            self._left_out["no span that answers was found"] += 1
            return

        if ServedFormat.LIKELIHOOD in formats and answering:
            self._keep(ServedFormat.LIKELIHOOD, await likelihood_completion(question.text, answering[0]))
        if ServedFormat.CHOICE in formats and answering:
            chosen = next((index for index, span in enumerate(shown) if span in answering), None)
            if chosen is None:
                self._left_out["the span that answers is too far down for a choice"] += 1
            else:
                self._keep(ServedFormat.CHOICE, await choice_conversation(question.text, shown, chosen))
        if ServedFormat.WRITTEN in formats:
            await self._write(question, evidence, answering)

    async def _write(self, question: GroundedQuestion, evidence: Evidence, answering: Sequence[RankedSpan]) -> None:
        rag = self._options.rag
        if not question.gold:
            refusal = REFUSALS[language_of(question.text)]
            conversation, draft = await written_conversation(self._base, evidence, refusal, rag)
            if draft.text:
                self._left_out["a span bears the refusal out"] += 1
                return
            self._made["refused"] += 1
            self._keep(ServedFormat.WRITTEN, conversation)
            return

        # The chain shows the model the first spans; an answer from further down could not be seen.
        listed = await written_conversation(self._base, evidence, REFUSALS["en"], rag)
        prompt = listed[0].messages[-2].content
        seen = [span for span in answering if f"] {' '.join(span.span.text.split())}\n" in f"{prompt}\n"]
        if not seen:
            self._left_out["the span that answers is too far down to be shown"] += 1
            return
        candidates = [question.answer] if self._options.own_words and question.answer.strip() else []
        candidates.append(_sentences(seen[0], question.gold))
        for answer in candidates:
            conversation, draft = await written_conversation(self._base, evidence, answer, rag)
            if draft.text and not draft.dropped:
                self._keep(ServedFormat.WRITTEN, conversation)
                return
        self._left_out["the chain would drop the answer"] += 1

    def _keep(self, kind: ServedFormat, example: Example) -> None:
        self._made[kind] += 1
        self._examples.append(example)


def _sentences(ranked: RankedSpan, gold: Iterable[GoldSpan]) -> str:
    """The sentences of a span that gold spans touch, white space folded; at most three, as the model is told."""
    span = ranked.span
    touched = [
        span.text[start:end]
        for start, end in sentences(span.text)
        if any(
            span.document == one.document and span.start + start < one.end and one.start < span.start + end
            for one in gold
        )
    ]
    gap = "" if language_of(span.text) == "zh" else " "
    return gap.join(" ".join(sentence.split()) for sentence in touched[:3])
