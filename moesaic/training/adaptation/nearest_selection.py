"""The sentences of a field that are nearest to a task: what to go on training with when the task's own text is little.

kNN-TAPT (Gururangan et al., "Don't Stop Pretraining", arXiv:2004.10964, section 5.2): task and field are
cut into sentences and embedded; for each sentence of the task its k nearest of the field are taken, and training goes
on with these together with the task's own text. How this differs:

1. The encoder is any `Embedder` of `moesaic.retrieval`, where the paper trains VAMPIRE on the field itself.
2. A sentence that was chosen for several sentences of the task is taken once, and so is one that the field repeats.
   Sentences of the field that the task has word for word are not chosen: they are there already.
3. Chosen sentences that stand side by side in a document stay together: a language model learns from what comes before.
4. `least_similarity` can leave out neighbours that are near only because nothing else is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from moesaic.errors import CorpusError, RecipeError
from moesaic.retrieval import Embedder, sentences
from moesaic.retrieval.embedder import Vectors
from moesaic.retrieval.vector_index import VectorIndex

__all__ = ["NearestOptions", "NearestSelection", "nearest_sentences"]

_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class NearestOptions:
    """How sentences are chosen.

    Raises:
        RecipeError: a value is out of its range.
    """

    neighbours: int = 50
    """k, for each sentence of the task; the paper has 50, 150 and 500. 1 to 10,000."""
    least_similarity: float = -1.0
    """Cosine below which a neighbour is not taken, -1 to 1."""
    least_bytes: int = 15
    """Shorter sentences, headings and numbers mostly, are left out on both sides. In UTF-8: five characters of Chinese
    say about as much as three words of English."""

    def __post_init__(self) -> None:
        """Check the ranges once."""
        if not 1 <= self.neighbours <= 10_000:
            raise RecipeError(f"neighbours={self.neighbours!r} must be 1 to 10000")
        if not -1 <= self.least_similarity <= 1:
            raise RecipeError(f"least_similarity={self.least_similarity!r} must be -1 to 1")
        if self.least_bytes < 1:
            raise RecipeError(f"least_bytes={self.least_bytes!r} must be at least 1")


@dataclass(frozen=True, kw_only=True)
class NearestSelection:
    """What was chosen."""

    texts: tuple[str, ...]
    """Chosen sentences in the order of the field; those that stand side by side are one text."""
    chosen: int
    """Sentences of the field that were chosen."""
    task_sentences: int
    """Sentences of the task."""
    field_sentences: int
    """Different sentences of the field that could be chosen."""
    mean_similarity: float
    """Mean cosine of a sentence of the task to what was chosen for it."""
    field_similarity: float
    """Mean cosine of a sentence of the task to one of the field: what choosing at random would give."""


@dataclass(frozen=True)
class _Sentence:
    document: int
    place: int
    start: int
    end: int
    text: str


def nearest_sentences(
    task: Iterable[str], field: Sequence[str], embedder: Embedder, options: NearestOptions | None = None
) -> NearestSelection:
    """Choose from a field what is nearest to a task.

    Args:
        task: unlabelled texts of the task; never those that it is tested with.
        field: documents of the field.
        embedder: says what is near.
        options: how.

    Raises:
        CorpusError: task or field have no sentence that is long enough, or nothing is near enough.
    """
    options = options or NearestOptions()
    asked = _different(_cut(list(task), options), set())
    words = {_words(sentence.text) for sentence in asked}
    offered = _different(_cut(field, options), words)
    for name, found in (("task", asked), ("field", offered)):
        if not found:
            raise CorpusError(
                f"the {name} has no sentence of {options.least_bytes} bytes that the other side lacks: give more text"
            )
    task_vectors = _embedded(embedder, asked)
    field_vectors = _embedded(embedder, offered)
    index = VectorIndex.build(field_vectors)
    chosen: set[int] = set()
    similarities: list[float] = []
    for vector in task_vectors:
        positions, cosines = index.search(vector, options.neighbours)
        near = cosines >= options.least_similarity
        chosen.update(positions[near].tolist())
        similarities += cosines[near].tolist()
    if not chosen:
        raise CorpusError(f"no sentence of the field reaches least_similarity={options.least_similarity}: lower it")
    return NearestSelection(
        texts=tuple(_together([offered[number] for number in sorted(chosen)], field)),
        chosen=len(chosen),
        task_sentences=len(asked),
        field_sentences=len(offered),
        mean_similarity=float(np.mean(similarities)),
        field_similarity=float(task_vectors.mean(axis=0) @ field_vectors.mean(axis=0)),
    )


def _cut(texts: Sequence[str], options: NearestOptions) -> Iterable[_Sentence]:
    for number, text in enumerate(texts):
        for place, (start, end) in enumerate(sentences(text)):
            if len(text[start:end].encode()) >= options.least_bytes:
                yield _Sentence(number, place, start, end, text[start:end])


def _different(found: Iterable[_Sentence], seen: set[str]) -> list[_Sentence]:
    """Each sentence once, and none whose words were seen before."""
    known = set(seen)
    kept = []
    for sentence in found:
        words = _words(sentence.text)
        if words not in known:
            known.add(words)
            kept.append(sentence)
    return kept


def _words(text: str) -> str:
    return " ".join(text.split())


def _embedded(embedder: Embedder, found: Sequence[_Sentence]) -> Vectors:
    """As documents on both sides: they are compared for likeness, not asked and answered."""
    parts = [
        embedder.embed_documents([sentence.text for sentence in found[start : start + _AT_ONCE]])
        for start in range(0, len(found), _AT_ONCE)
    ]
    return np.concatenate(parts)


def _together(chosen: Sequence[_Sentence], field: Sequence[str]) -> Iterable[str]:
    """Runs of neighbouring sentences as they stand in their documents."""
    numbered = enumerate(chosen)
    for _, group in groupby(numbered, key=lambda item: (item[1].document, item[1].place - item[0])):
        run = [sentence for _, sentence in group]
        yield field[run[0].document][run[0].start : run[-1].end]
