"""`moesaic calibrate`: the numbers of cited answers, fitted to a model and a knowledge base."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from moesaic.cli.model_client import ModelPlace, opened_client, read_token
from moesaic.cli.progress import shown_progress
from moesaic.cli.shared_options import BaseFolder, Json, LocalEngine, LocalModel, RootCertificates, Target, TokenFile
from moesaic.errors import CorpusError, InputError

if TYPE_CHECKING:
    from moesaic.retrieval import KnowledgeBase
    from moesaic.training.calibration import CalibrationReport, Finding
    from moesaic.training.tuning import GroundedQuestion

__all__ = ["calibrate"]


def calibrate(
    questions: Annotated[
        Path,
        typer.Argument(
            help='JSON: a list of {"question", "gold": \\[{"document", "quote"}]}; empty where nothing answers.'
        ),
    ],
    kb: Annotated[str, typer.Option("--kb", help="Name of the knowledge base that the questions are on.")],
    out: Annotated[Path, typer.Option(help="File to write, for moesaic ask --calibration.")],
    base: BaseFolder = None,
    target: Target = None,
    model: LocalModel = None,
    engine: LocalEngine = "auto",
    token_file: TokenFile = None,
    root_certificates: RootCertificates = None,
    as_json: Json = False,
) -> None:
    """Fit how cited answers are ranked and declined to a model and a base, and say whether it helps.

    Worth its time after a model was tuned, or for a base whose questions are answered or declined wrongly. It takes at
    least ten questions that the base answers and ten that it does not, better thirty of each, none of which you later
    judge the answers by. Quality is measured on questions that a fit left out.

    Example: moesaic calibrate questions.json --kb guide --out guide-calibration.json
    """
    from moesaic.retrieval import KnowledgeHome
    from moesaic.training.calibration import cross_validated, fit_calibration
    from moesaic.training.data.durable import made_folder, written_json

    if out.is_dir():
        raise InputError(f"out={str(out)!r} is a folder: name the file to write")

    made_folder(out.parent)  # what cannot be written should not cost the asking
    token = None if token_file is None else read_token(token_file)
    place = ModelPlace(target=target, model=model, token=token, root_certificates=root_certificates, engine=engine)
    with KnowledgeHome(base).open(kb) as opened:
        asked = _questions(questions, opened)
        findings, name = asyncio.run(_collected(place, opened, asked))
    report = cross_validated(findings)
    fitted = fit_calibration(findings, f"{len(findings)} questions of {questions.name} on {kb}, asked of {name}")
    written_json(out, fitted.to_json())
    if as_json:
        typer.echo(json.dumps({"file": str(out), **report.to_json()}, indent=2))
    else:
        _tell(report, out)


def _questions(path: Path, base: "KnowledgeBase") -> "tuple[GroundedQuestion, ...]":
    """Questions whose quotes stand in the base."""
    from moesaic.training.tuning import read_grounded

    documents = [base.document(summary.id) for summary in base.documents()]
    read = read_grounded([path], documents)
    if len(read.documents) > len(documents):
        raise CorpusError(f"{path} has questions on texts of its own: index these as a base, and quote its documents")
    return read.questions


async def _collected(
    place: ModelPlace, base: "KnowledgeBase", questions: "tuple[GroundedQuestion, ...]"
) -> "tuple[list[Finding], str]":
    """Findings, and the name of the model that was asked."""
    from moesaic import v1
    from moesaic.chains import RagOptions
    from moesaic.training.calibration import collect

    async with opened_client(place) as client:
        served = await client.get_model_info(v1.GetModelInfoRequest(), timeout_s=60)
        with shown_progress("Ask the base and the model") as progress:
            findings = await collect(
                client, base, questions, RagOptions(), progress=lambda done, count: progress("questions", done, count)
            )
    return findings, f"{served.model} {served.weight_version}"


def _tell(report: "CalibrationReport", out: Path) -> None:
    table = Table("", "before", "after", box=None, header_style="bold")
    before, after = report.before, report.after
    table.add_row("decline F1", f"{before.decline_f1:.3f}", f"{after.decline_f1:.3f}")
    table.add_row("best span answers", f"{before.first_span:.3f}", f"{after.first_span:.3f}")
    table.add_row("log loss, nats", f"{before.log_loss:.3f}", f"{after.log_loss:.3f}")
    typer.echo(
        f"{report.answerable} questions with an answer (found for {report.found}), {report.unanswerable} without; "
        "each judged by a fit that left it out:"
    )
    Console(highlight=False).print(table)
    if report.better:
        typer.echo(f"written to {out}; use it with: moesaic ask … --calibration {out}")
    else:
        typer.echo(
            f"written to {out}, but on questions left out it is no better than what Moesaic comes with: leave it"
        )
