"""From sources to shards, stage by stage: read, clean, deduplicate, decontaminate, mask, filter, select, tokenize.

    prepared = prepare(DataConfig.from_mapping(recipe["data"]))
    source = prepared.mixture(sequence_length=512, rows=32)

Each stage keeps its output with a digest (see `moesaic.training.data.stage`). A run that was killed, at whatever point,
goes on when it is started again, and ends with the same bytes as one that was not; a run that changes nothing reads
digests and is done. Which order, and why: near-duplicates are looked for after cleaning, which removes what makes
copies differ; before what follows, so that no copy counts twice in a classifier or a distribution; private data is
masked before anything is learnt from it.
"""

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from moesaic.artifact.staging import lock_folder, unlock_folder
from moesaic.errors import CorpusError, MissingDependencyError, RecipeError, RunBusyError
from moesaic.training.data.composition import composition_of
from moesaic.training.data.composition_plot import plot_composition
from moesaic.training.data.data_config import DataConfig
from moesaic.training.data.document_store import DocumentStore, write_documents
from moesaic.training.data.durable import made_folder, storage_errors, written_json
from moesaic.training.data.prepared import PreparedData
from moesaic.training.data.shard_stage import HELD_OUT, TRAIN, write_all_shards
from moesaic.training.data.stage import StageResult, run_stage
from moesaic.training.data.text_encoder import FolderEncoder, TextEncoder, encoder_digest
from moesaic.training.data.text_stages import (
    TextStage,
    cleaning_stage,
    decontamination_stage,
    dedup_stage,
    masking_stage,
    quality_stage,
    reading_stage,
    selection_stage,
)

__all__ = ["Progress", "StagePlan", "prepare", "prepare_texts"]

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, documents done, and all of them."""

_CODE_VERSION = 1
"""Raised when a stage comes to another result from the same text: what older code made is then made anew."""

_log = logging.getLogger(__name__)

StagePlan = tuple[str, Any, TextStage]
"""Name, settings that determine the result, and what to do."""


def prepare(
    config: DataConfig, *, tokenizer: TextEncoder | None = None, progress: Progress | None = None
) -> PreparedData:
    """Make shards of the sources, or go on with what an interrupted run left.

    Args:
        config: what to do.
        tokenizer: takes the place of the one that `config` names.
        progress: called while stages run.

    Raises:
        CorpusError: a source is missing or empty, or nothing is left of one.
        RecipeError: neither `config` nor the caller gives a tokenizer.
        TokenizerError: the tokenizer cannot be loaded.
        RunBusyError: another process prepares data in the folder.
        StorageError: the disk is full or may not be written.
    """
    if tokenizer is None:
        if config.tokenizer is None:
            raise RecipeError("tokenizer is not given: name the folder of one, such as that of the model to be trained")

        tokenizer = FolderEncoder(config.tokenizer)
    with _Locked(config.folder):
        results = _run_texts(config, _plans(config), progress)
        store = DocumentStore(results[-1].folder)
        shards = _run_shards(config, store, results[-1].digest, tokenizer, progress)
        report = _report(config, [*results, shards], store)
        prepared = PreparedData(
            folder=config.folder,
            train={source.name: shards.folder / source.name / TRAIN for source in config.sources},
            held_out={
                source.name: shards.folder / source.name / HELD_OUT
                for source in config.sources
                if HELD_OUT in shards.report[source.name]
            },
            ratios={source.name: source.ratio for source in config.sources},
            packing=config.packing,
            seed=config.seed,
            digest=shards.digest,
            report=report,
        )
        prepared.write()
        return prepared


def prepare_texts(
    config: DataConfig, *, progress: Progress | None = None, last: str | None = None
) -> tuple[DocumentStore, dict[str, Any]]:
    """The documents that are left after the stages before tokens, and the report; needs no tokenizer.

    Args:
        config: what to do.
        progress: called while stages run.
        last: name of the stage to stop after; the last one if not given.

    Raises:
        RecipeError: the recipe has no stage of this name.
        CorpusError, RunBusyError, StorageError: as `prepare`.
    """
    plans = _plans(config)
    names = [name for name, _, _ in plans]
    if last is not None:
        if last not in names:
            raise RecipeError(f"stage {last!r} is not in the recipe; its stages are {', '.join(names)}")

        plans = plans[: names.index(last) + 1]
    with _Locked(config.folder):
        results = _run_texts(config, plans, progress)
        store = DocumentStore(results[-1].folder)
        return store, _report(config, results, store)


def _plans(config: DataConfig) -> list[StagePlan]:
    plans: list[StagePlan] = [
        ("1-read", [_sources(config)], lambda _, report, progress: reading_stage(config.sources, report, progress))
    ]
    if config.clean is not None:
        plans.append(("2-clean", asdict(config.clean), cleaning_stage(config.clean)))
    if config.dedup is not None:
        plans.append(("3-dedup", asdict(config.dedup), dedup_stage(config.dedup)))
    if config.decontaminate is not None:
        settings: list[Any] = [asdict(config.decontaminate), _fingerprints(config.decontaminate.paths)]
        plans.append(("4-decontaminate", settings, decontamination_stage(config.decontaminate)))
    if config.mask is not None:
        plans.append(("5-mask", asdict(config.mask), masking_stage(config.mask)))
    if config.quality is not None:
        settings = [asdict(config.quality), _fingerprints(config.quality.curated), config.seed]
        plans.append(("6-quality", settings, quality_stage(config.quality, config.seed)))
    if config.select is not None:
        settings = [asdict(config.select), _fingerprints(config.select.target)]
        plans.append(("7-select", settings, selection_stage(config.select)))
    return plans


def _run_texts(config: DataConfig, plans: list[StagePlan], progress: Progress | None) -> list[StageResult]:
    results: list[StageResult] = []
    before = Counter[str]()
    for name, settings, stage in plans:
        store = DocumentStore(results[-1].folder) if results else None
        result = run_stage(
            config.folder,
            name,
            settings=[_CODE_VERSION, settings],
            source=results[-1].digest if results else "",
            work=_text_work(name, stage, store, before, progress),
        )
        _log.info("%s: %s", name, "found" if result.reused else "done")
        before = Counter(result.report["documents"])
        if not before:
            raise CorpusError(f"stage {name} left no document: loosen it; {result.folder}/stage.json says why")

        results.append(result)
    return results


def _text_work(
    name: str, stage: TextStage, store: DocumentStore | None, before: Counter[str], progress: Progress | None
) -> Callable[[Path], dict[str, Any]]:
    def work(folder: Path) -> dict[str, Any]:
        details: dict[str, Any] = {}
        documents: Counter[str] = Counter()
        characters: Counter[str] = Counter()

        def counted() -> Any:
            # The first stage makes its documents itself, from no store.
            for document in stage(store, details, _stage_progress(name, progress)):  # type: ignore[arg-type]
                documents[document.corpus] += 1
                characters[document.corpus] += len(document.text)
                yield document

        write_documents(folder, counted())
        return {"before": before, "documents": documents, "characters": characters, "details": details}

    return work


def _run_shards(
    config: DataConfig, store: DocumentStore, source: str, encoder: TextEncoder, progress: Progress | None
) -> StageResult:
    name = "8-shards"
    corpora = tuple(each.name for each in config.sources)
    return run_stage(
        config.folder,
        name,
        settings=[_CODE_VERSION, corpora, config.held_out, config.shard_tokens, encoder_digest(encoder)],
        source=source,
        takes_up=True,
        work=lambda folder: write_all_shards(
            store,
            folder,
            encoder,
            corpora=corpora,
            held_out=config.held_out,
            shard_tokens=config.shard_tokens,
            progress=_stage_progress(name, progress),
        ),
    )


def _report(config: DataConfig, results: list[StageResult], store: DocumentStore) -> dict[str, Any]:
    """The report of all stages; written as report.json, and drawn as report.png where matplotlib is installed."""
    digest = hashlib.sha256("".join(result.digest for result in results).encode()).hexdigest()
    path = config.folder / "report.json"
    if path.exists():
        try:
            known: dict[str, Any] = json.loads(path.read_bytes())
            if known["digest"] == digest:
                return known
        except (ValueError, KeyError, TypeError) as error:
            _log.warning("%s is damaged (%s) and is made again", path, error)

    report: dict[str, Any] = {
        "digest": digest,
        "stages": {result.name: result.report for result in results},
        "composition": composition_of(store),
    }
    try:
        plot_composition(report["composition"], config.folder / "report.png")
    except MissingDependencyError as error:
        _log.warning("no plot is drawn: %s", error)
    written_json(path, report)
    return report


def _stage_progress(name: str, progress: Progress | None) -> Callable[[int, int], None]:
    if progress is None:
        return lambda done, total: None

    return lambda done, total: progress(name, done, total)


def _sources(config: DataConfig) -> list[Any]:
    """What the sources are now: their settings without ratios, which no text depends on, and their files."""
    settings = [{key: value for key, value in asdict(source).items() if key != "ratio"} for source in config.sources]
    return [settings, [_fingerprints(source.paths) for source in config.sources]]


def _fingerprints(paths: tuple[str, ...]) -> list[Any]:
    """Name, size and time of change of every file; of a knowledge base the digests of its documents."""
    found: list[Any] = []
    for given in paths:
        if given.startswith("kb:"):
            from moesaic.retrieval import KnowledgeHome

            with KnowledgeHome().open(given.removeprefix("kb:")) as base:
                found += [[given, document.id, _text_digest(base.text(document.id))] for document in base.documents()]
            continue

        path = Path(given).expanduser()
        if not path.exists():
            raise CorpusError(f"there is no file or folder {given!r}; give a path that exists")

        files = [path] if path.is_file() else [Path(root, name) for root, _, names in os.walk(path) for name in names]
        for file in sorted(files):
            if file.is_file():
                state = file.stat()
                found.append([str(file), state.st_size, state.st_mtime_ns])
    return found


def _text_digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class _Locked:
    """The folder of a preparation, held by one process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        with storage_errors(self._folder):
            self._lock = lock_folder(made_folder(self._folder), wait=False)
        if self._lock is None:
            raise RunBusyError(
                f"another process prepares data in {self._folder}: wait for it, or choose another folder"
            )

    def __exit__(self, *ended: object) -> None:
        if self._lock is not None:
            unlock_folder(self._lock)
