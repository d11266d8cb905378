"""Pairs of texts that belong together or do not, made out of a corpus without anyone labelling it.

    coherence   what follows a passage, against passages from elsewhere in its document, and from other documents
    relevance   a heading and the passage that begins its section, or a question and the passage that answers it,
                against other passages of the document and of others

Passages of the same document are the hard half: they share its words and its subject, so that a model that tells them
apart has to look at more than that. Zhang et al. and Yang et al. train rerankers for coherence and relevance so (Re3,
arXiv:2210.06774, section 3.3, from stories); here any documents will do.

Documents are divided between training, calibration and testing whole: neighbours of a tested passage are never learnt.
"""

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from moesaic.errors import CorpusError, RecipeError
from moesaic.retrieval import ChunkOptions, Document, chunk_document
from moesaic.training.tuning.grounded_question import GroundedSet

__all__ = ["PairOptions", "PairRelation", "PairSplits", "TextPair", "coherence_pairs", "relevance_pairs", "split_pairs"]

_UNDERLINE = re.compile(r"[=\-~^\"'`#*+]{3,}")


class PairRelation(StrEnum):
    """What a pair is asked about."""

    COHERENCE = "coherence"
    """Whether the second text follows the first one."""
    RELEVANCE = "relevance"
    """Whether the second text is about the first one, or answers it."""


@dataclass(frozen=True, kw_only=True)
class TextPair:
    """Two texts, and whether they belong together."""

    first: str
    second: str
    belongs: bool
    document: str
    """Id of the first text's document."""
    hard: bool = False
    """Whether the second text of a pair that does not belong together is from the same document."""


@dataclass(frozen=True, kw_only=True)
class PairOptions:
    """How pairs are made.

    Raises:
        RecipeError: a value is out of its range.
    """

    passage_tokens: int = 96
    """Most tokens of a passage, as retrieval estimates them; two must fit into the encoder. 16 to 512."""
    hard: int = 1
    """Passages of the same document that do not belong, for each pair that does, where the document has them."""
    easy: int = 1
    """Passages of other documents, likewise."""
    seed: int = 0
    """Of which passages do not belong."""

    def __post_init__(self) -> None:
        """Check the ranges once."""
        if not 16 <= self.passage_tokens <= 512:
            raise RecipeError(f"passage_tokens={self.passage_tokens!r} must be 16 to 512")
        if self.hard < 0 or self.easy < 0 or not self.hard + self.easy:
            raise RecipeError(f"hard={self.hard!r}, easy={self.easy!r}: give at least one pair that does not belong")


@dataclass(frozen=True, kw_only=True)
class PairSplits:
    """Pairs for three purposes; no document has pairs in two of them."""

    train: tuple[TextPair, ...]
    calibration: tuple[TextPair, ...]
    test: tuple[TextPair, ...]

    def thinned(self, most: int, seed: int) -> "PairSplits":
        """At most so many pairs to learn from, drawn at random; the other parts are thinned by the same share.

        Raises:
            CorpusError: a part keeps no pair of one of the two kinds.
        """
        share = min(1.0, most / len(self.train))
        random = np.random.default_rng(seed)
        parts = {}
        for name in ("train", "calibration", "test"):
            own = getattr(self, name)
            kept = sorted(random.permutation(len(own))[: math.ceil(share * len(own))].tolist())
            parts[name] = tuple(own[index] for index in kept)
        _check_kinds(parts)
        return PairSplits(**parts)


class _Passage:
    """A chunk without the heading that it stands under."""

    def __init__(self, document: Document, start: int, end: int, headings: tuple[str, ...]) -> None:
        self.document = document.id
        self.headings = headings
        self.text = _without_heading(document.text[start:end], headings[-1] if headings else "")

    def is_below(self, headings: tuple[str, ...]) -> bool:
        """Whether it stands under these headings, or under subheadings of theirs: then it is about them too."""
        return self.headings[: len(headings)] == headings


def coherence_pairs(documents: Sequence[Document], options: PairOptions | None = None) -> list[TextPair]:
    """Adjacent passages, and such that are not.

    Raises:
        CorpusError: no document has two passages.
    """
    options = options or PairOptions()
    by_document = [_passages(document, options) for document in documents]
    pairs: list[TextPair] = []
    random = np.random.default_rng(options.seed)
    for number, own in enumerate(by_document):
        for index in range(len(own) - 1):
            # Neither the passage itself nor one beside it: what came before fits well enough.
            far = [passage for place, passage in enumerate(own) if abs(place - index) > 1]
            others = _others(by_document, number, options.easy, random)
            pairs += _around(own[index].text, own[index + 1], far, others, options, random)
    if not pairs:
        raise CorpusError(
            f"none of {len(documents)} documents has two passages of {options.passage_tokens} tokens: give longer ones"
        )
    return pairs


def relevance_pairs(
    documents: Sequence[Document], questions: GroundedSet | None = None, options: PairOptions | None = None
) -> list[TextPair]:
    """Headings and questions with their passages, and with others.

    Args:
        documents: those with headings give pairs.
        questions: those with an answer give pairs too, with passages of the set's own documents.
        options: how.

    Raises:
        CorpusError: there is neither a heading with a passage nor a question with an answer.
    """
    options = options or PairOptions()
    random = np.random.default_rng(options.seed)
    pairs = list(_heading_pairs(documents, options, random))
    if questions is not None:
        pairs += _question_pairs(questions, options, random)
    if not pairs:
        raise CorpusError(
            f"none of {len(documents)} documents has a heading with a passage, and there is no question: "
            "give documents with headings, or questions"
        )
    return pairs


def split_pairs(pairs: Iterable[TextPair], *, calibration: float = 0.1, test: float = 0.1) -> PairSplits:
    """Divide pairs by their documents; the same document goes the same way in every run.

    Raises:
        RecipeError: the shares leave nothing to learn.
        CorpusError: a part has no pair of one of the two kinds.
    """
    if calibration <= 0 or test <= 0 or calibration + test >= 1:
        raise RecipeError(f"calibration={calibration!r}, test={test!r} must be above 0, together below 1")
    parts: dict[str, list[TextPair]] = {"train": [], "calibration": [], "test": []}
    for pair in pairs:
        place = int.from_bytes(hashlib.sha256(pair.document.encode()).digest()[:8]) / 2**64
        part = "calibration" if place < calibration else "test" if place < calibration + test else "train"
        parts[part].append(pair)
    _check_kinds(parts)
    return PairSplits(**{name: tuple(chosen) for name, chosen in parts.items()})


def _check_kinds(parts: Mapping[str, Sequence[TextPair]]) -> None:
    for name, chosen in parts.items():
        if len({pair.belongs for pair in chosen}) != 2:
            raise CorpusError(
                f"the {name} part has {len(chosen)} pairs of one kind or none: give more documents, or larger shares"
            )


def _heading_pairs(
    documents: Sequence[Document], options: PairOptions, random: np.random.Generator
) -> Iterator[TextPair]:
    by_document = [_passages(document, options) for document in documents]
    for number, own in enumerate(by_document):
        above: tuple[str, ...] = ()
        for passage in own:
            # Only what begins a section is surely about its heading; further on a long one leads away from it.
            begins, above = passage.headings != above, passage.headings
            if not begins or not passage.headings:
                continue
            asked = " > ".join(passage.headings)
            elsewhere = [other for other in own if not other.is_below(passage.headings)]
            drawn = _others(by_document, number, options.easy, random)
            others = [other for other in drawn if not other.is_below(passage.headings)]
            yield from _around(asked, passage, elsewhere, others, options, random)


def _question_pairs(questions: GroundedSet, options: PairOptions, random: np.random.Generator) -> Iterator[TextPair]:
    chunks = ChunkOptions(max_tokens=options.passage_tokens)
    spans = {document.id: chunk_document(document, chunks) for document in questions.documents}
    passages = {
        document.id: [_Passage(document, chunk.start, chunk.end, chunk.heading_path) for chunk in spans[document.id]]
        for document in questions.documents
    }
    by_document = list(passages.values())
    numbers = {name: number for number, name in enumerate(passages)}
    for question in questions.questions:
        if not question.gold:
            continue
        gold = question.gold[0]
        answering = {
            index
            for span in question.gold
            for index, chunk in enumerate(spans[gold.document])
            if span.document == gold.document and span.start < chunk.end and chunk.start < span.end
        }
        own = passages[gold.document]
        elsewhere = [passage for index, passage in enumerate(own) if index not in answering]
        others = _others(by_document, numbers[gold.document], options.easy, random)
        yield from _around(question.text, own[min(answering)], elsewhere, others, options, random)


def _passages(document: Document, options: PairOptions) -> list[_Passage]:
    chunks = chunk_document(document, ChunkOptions(max_tokens=options.passage_tokens))
    passages = [_Passage(document, chunk.start, chunk.end, chunk.heading_path) for chunk in chunks]
    return [passage for passage in passages if passage.text]


def _around(
    first: str,
    second: _Passage,
    same: Sequence[_Passage],
    others: Sequence[_Passage],
    options: PairOptions,
    random: np.random.Generator,
) -> Iterator[TextPair]:
    """The pair that belongs together, and some that do not; a text that stands there twice is no counterexample."""
    if not second.text:
        return
    yield TextPair(first=first, second=second.text, belongs=True, document=second.document)
    hard = [passage for passage in same if passage.text not in ("", second.text)]
    for index in random.permutation(len(hard))[: options.hard].tolist():
        yield TextPair(first=first, second=hard[index].text, belongs=False, document=second.document, hard=True)
    for passage in others:
        if passage.text != second.text:
            yield TextPair(first=first, second=passage.text, belongs=False, document=second.document)


def _others(
    by_document: Sequence[Sequence[_Passage]], own: int, count: int, random: np.random.Generator
) -> list[_Passage]:
    """Passages of other documents, each of which is as likely as another."""
    filled = [number for number, passages in enumerate(by_document) if passages and number != own]
    if not filled:
        return []
    chosen = [by_document[filled[number]] for number in random.integers(len(filled), size=count).tolist()]
    return [passages[int(random.integers(len(passages)))] for passages in chosen]


def _without_heading(text: str, heading: str) -> str:
    """The text without the lines of its heading at the beginning: a model that finds them there learns nothing."""
    lines = text.strip().splitlines()
    if heading and lines and lines[0].strip().lstrip("#").strip() == heading.strip():
        lines = lines[1:]
        if lines and _UNDERLINE.fullmatch(lines[0].strip()):
            lines = lines[1:]
    return "\n".join(lines).strip()
