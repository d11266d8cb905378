"""The stages that take documents and give documents: what each leaves out, and its report."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from moesaic.errors import CorpusError, RecipeError
from moesaic.training.data.cleaning import CleanOptions, CleanReport, cleaned
from moesaic.training.data.data_config import DecontaminateConfig, MaskConfig, QualityConfig, SelectConfig
from moesaic.training.data.decontamination import EvaluationTexts
from moesaic.training.data.document_store import DocumentStore, StoredTexts
from moesaic.training.data.importance_selection import select_by_importance
from moesaic.training.data.near_duplicates import DedupOptions, NearDuplicates, find_near_duplicates
from moesaic.training.data.private_data import mask_private_data
from moesaic.training.data.quality_classifier import QualityClassifier, keep_noisily
from moesaic.training.data.reading import ReadReport, read_source
from moesaic.training.data.source import SourceConfig
from moesaic.training.data.text_document import TextDocument

__all__ = [
    "StageProgress",
    "TextStage",
    "cleaning_stage",
    "decontamination_stage",
    "dedup_stage",
    "learnt_quality",
    "masking_stage",
    "quality_stage",
    "read_texts",
    "reading_stage",
    "selection_stage",
]

StageProgress = Callable[[int, int], None]
"""Called with documents done and all; all is 0 where it is not known."""

Report = dict[str, Any]

TextStage = Callable[[DocumentStore, Report, StageProgress], Iterator[TextDocument]]
"""Documents of a store to those that stay; fills the report by the time the last is given."""

_EXAMPLES = 5
_EXCERPT = 160
_REPORT_EVERY = 64
_CLASSIFIER_SUFFIX = ".npz"


def read_texts(paths: tuple[str, ...], fields: tuple[str, ...] = ("text",)) -> list[str]:
    """Texts of files and folders that are no source: targets, curated and evaluation texts."""
    texts: list[str] = []
    for field in fields:
        source = SourceConfig(name="texts", paths=paths, text_field=field)
        texts += [document.text for document in read_source(source)]
    return texts


def reading_stage(sources: tuple[SourceConfig, ...], report: Report, progress: StageProgress) -> Iterator[TextDocument]:
    """The documents of all sources, one source after another."""
    count = 0
    for source in sources:
        read = ReadReport()
        for document in read_source(source, read):
            count += 1
            if count % _REPORT_EVERY == 0:
                progress(count, 0)
            yield document
        report[source.name] = vars(read)


def cleaning_stage(options: CleanOptions) -> TextStage:
    """Normal form, and out with what breaks a rule."""

    def stage(store: DocumentStore, report: Report, progress: StageProgress) -> Iterator[TextDocument]:
        found = CleanReport()
        yield from cleaned(_counted(store, progress), options, found)
        report.update(found.to_json())

    return stage


def dedup_stage(options: DedupOptions) -> TextStage:
    """Out with exact duplicates, then with near-duplicates."""

    def stage(store: DocumentStore, report: Report, progress: StageProgress) -> Iterator[TextDocument]:
        first: dict[bytes, int] = {}
        copies = 0
        for number, document in enumerate(store):
            # White space does not make another text.
            content = " ".join(document.text.split()).encode("utf-8", "surrogatepass")
            known = first.setdefault(hashlib.blake2b(content, digest_size=16).digest(), number)
            copies += known != number
        kept = sorted(first.values())
        report["exact"] = {"removed": copies}
        found = find_near_duplicates(StoredTexts(store, kept), options, progress=progress)
        report["near"] = found.to_json() | {"examples": _pairs(store, kept, found)}
        for place, number in enumerate(kept):
            if place not in found.kept_by:
                yield store[number]

    return stage


def decontamination_stage(config: DecontaminateConfig) -> TextStage:
    """Out with what shares a long run with an evaluation text."""

    def stage(store: DocumentStore, report: Report, progress: StageProgress) -> Iterator[TextDocument]:
        evaluation = EvaluationTexts(read_texts(config.paths, config.text_fields))
        removed = 0
        examples: list[Report] = []
        for document in _counted(store, progress):
            shared = evaluation.shared_runs(document.text)
            if not shared:
                yield document
                continue

            removed += 1
            if len(examples) < _EXAMPLES:
                examples.append({"id": document.id, "shared_runs": shared, "text": document.text[:_EXCERPT]})
        report.update(evaluation.to_json() | {"removed": removed, "examples": examples})

    return stage


def masking_stage(config: MaskConfig) -> TextStage:
    """Placeholders for private data."""

    def stage(store: DocumentStore, report: Report, progress: StageProgress) -> Iterator[TextDocument]:
        counts: Counter[str] = Counter()
        documents = 0
        for document in _counted(store, progress):
            masked = mask_private_data(document.text, config.kinds)
            counts += masked.counts
            documents += bool(masked.counts)
            yield replace(document, text=masked.text) if masked.counts else document
        report.update({"masked": {kind: counts[kind] for kind in config.kinds}, "documents": documents})

    return stage


def quality_stage(config: QualityConfig, seed: int) -> TextStage:
    """Out with most of what does not look like curated texts."""

    def stage(store: DocumentStore, report: Report, progress: StageProgress) -> Iterator[TextDocument]:
        generator = np.random.default_rng([seed, 1])
        concerned = _concerned(store, config.corpora)
        if len(config.curated) == 1 and config.curated[0].endswith(_CLASSIFIER_SUFFIX):
            classifier = QualityClassifier.load(Path(config.curated[0]))
        else:
            classifier = _learnt_quality(config, store, concerned, generator)
        report["held_out"] = vars(classifier.held_out)
        scores, removed = [], 0
        among = set(concerned)
        for number, document in enumerate(_counted(store, progress)):
            if number not in among:
                yield document
                continue

            scores.append(classifier.score(document.text))
            if keep_noisily(scores[-1], generator, config.pareto):
                yield document
            else:
                removed += 1
        report.update({"scored": len(scores), "removed": removed, "score_deciles": _deciles(scores)})

    return stage


def learnt_quality(config: QualityConfig, store: DocumentStore, *, seed: int) -> QualityClassifier:
    """The classifier that the stage would train on these documents.

    Raises:
        CorpusError: there are fewer than ten texts of a kind.
        RecipeError: the curated texts are a classifier already.
    """
    saved = [path for path in config.curated if path.endswith(_CLASSIFIER_SUFFIX)]
    if saved:
        raise RecipeError(f"curated={saved[0]!r} is a classifier already: give files or folders of texts")
    return _learnt_quality(config, store, _concerned(store, config.corpora), np.random.default_rng([seed, 1]))


def _learnt_quality(
    config: QualityConfig, store: DocumentStore, concerned: list[int], generator: np.random.Generator
) -> QualityClassifier:
    curated = read_texts(config.curated)
    raw = generator.permutation(concerned)[: config.most_texts].tolist()
    return QualityClassifier.train(
        [curated[number] for number in generator.permutation(len(curated))[: config.most_texts].tolist()],
        [store[number].text for number in raw],
        config.classifier,
    )


def selection_stage(config: SelectConfig) -> TextStage:
    """Out with what is least like the target."""

    def stage(store: DocumentStore, report: Report, progress: StageProgress) -> Iterator[TextDocument]:
        concerned = _concerned(store, config.corpora)
        texts = StoredTexts(store, concerned)
        found = select_by_importance(texts, read_texts(config.target), config.options, progress=progress)
        chosen = {concerned[place] for place in found.chosen}
        among = set(concerned)
        report.update(found.to_json() | {"raw": len(concerned)})
        for number, document in enumerate(store):
            if number in chosen or number not in among:
                yield document

    return stage


def _counted(store: DocumentStore, progress: StageProgress) -> Iterator[TextDocument]:
    for number, document in enumerate(store, start=1):
        if number % _REPORT_EVERY == 0 or number == len(store):
            progress(number, len(store))
        yield document


def _concerned(store: DocumentStore, corpora: tuple[str, ...]) -> list[int]:
    """Numbers of the documents of these corpora, of all if none is named."""
    found = [number for number, document in enumerate(store) if not corpora or document.corpus in corpora]
    if not found:
        raise CorpusError(f"nothing is left of {', '.join(corpora) or 'the sources'}: loosen the stages before")

    return found


def _pairs(store: DocumentStore, kept: list[int], found: NearDuplicates) -> list[Report]:
    """The first near-duplicates, with what they are like."""
    return [
        {
            "removed": store[kept[removed]].id,
            "kept": store[kept[stays]].id,
            "similarity": round(found.similarity[removed], 4),
            "text": store[kept[removed]].text[:_EXCERPT],
        }
        for removed, stays in sorted(found.kept_by.items())[:_EXAMPLES]
    ]


def _deciles(scores: list[float]) -> list[float]:
    return [round(float(value), 4) for value in np.quantile(scores, np.linspace(0, 1, 11))]
