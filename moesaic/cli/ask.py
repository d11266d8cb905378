"""`moesaic ask`: a question to a knowledge base, answered with citations or declined."""

import asyncio
import json
import time
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from moesaic.chains.rag_calibration import RagCalibration
from moesaic.chains.rag_options import Judge, RagMode, RagOptions
from moesaic.cli.model_client import ModelPlace, opened_client, read_token
from moesaic.cli.shared_options import BaseFolder, LocalEngine, LocalModel, RootCertificates, Target, TokenFile

if TYPE_CHECKING:
    from moesaic.chains import CitedAnswer
    from moesaic.retrieval import KnowledgeBase

__all__ = ["ask"]


def ask(
    question: Annotated[str, typer.Argument(help="What to ask, in any language.")],
    kb: Annotated[str, typer.Option("--kb", help="Name of the knowledge base.")],
    base: BaseFolder = None,
    target: Target = None,
    model: LocalModel = None,
    mode: Annotated[
        RagMode, typer.Option(help="The answer is made of quotes, or written by the model and checked.")
    ] = RagMode.EXTRACTIVE,
    judge: Annotated[
        Judge, typer.Option(help="How the model judges spans; with none, retrieval decides alone.")
    ] = Judge.LIKELIHOOD,
    threshold: Annotated[float, typer.Option(help="Decline below this score; 0 never declines.")] = 0.5,
    citations: Annotated[int, typer.Option(help="Most spans that an extractive answer is made of.")] = 3,
    calibration: Annotated[
        Path | None, typer.Option(help="What moesaic calibrate wrote; the numbers of Moesaic itself if not given.")
    ] = None,
    engine: LocalEngine = "auto",
    token_file: TokenFile = None,
    root_certificates: RootCertificates = None,
    timeout_s: Annotated[float, typer.Option(help="Longest time of an answer, in seconds.")] = 120.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole answer as JSON.")] = False,
) -> None:
    """Answer a question from a knowledge base, with exact citations, or decline it.

    Example: moesaic ask "how do I install it?" --kb guide
    """
    from moesaic.chains.question import checked_question
    from moesaic.retrieval import KnowledgeHome

    asked = checked_question(question)
    weighed = RagCalibration.load() if calibration is None else RagCalibration.read(calibration)
    options = RagOptions(mode=mode, judge=judge, threshold=threshold, max_citations=citations, calibration=weighed)
    token = None if token_file is None else read_token(token_file)
    place = ModelPlace(target=target, model=model, token=token, root_certificates=root_certificates, engine=engine)
    with KnowledgeHome(base).open(kb) as opened:
        answer, seconds = asyncio.run(_answer(place, opened, asked, options, timeout_s=timeout_s, show=not as_json))
    if as_json:
        typer.echo(json.dumps({"base": kb, **answer.to_json(), "seconds": seconds}, ensure_ascii=False, indent=2))
    else:
        _show_end(answer, seconds)


async def _answer(
    place: ModelPlace, base: "KnowledgeBase", question: str, options: RagOptions, *, timeout_s: float, show: bool
) -> "tuple[CitedAnswer, float]":
    """The answer and its seconds, the loading of a model left out; prints text as it comes if `show`."""
    from moesaic.chains import RagChain

    async with opened_client(place) as client:
        chain = RagChain(base=base, client=client, options=options, timeout_s=timeout_s)
        began = time.perf_counter()
        last = None
        with Console(stderr=True).status("reading") as waiting:
            async with aclosing(chain.astream(question)) as parts:
                async for part in parts:
                    waiting.stop()
                    if show:
                        typer.echo(part.text, nl=False)
                    last = part.answer
    assert last is not None
    return last, round(time.perf_counter() - began, 3)


def _show_end(answer: "CitedAnswer", seconds: float) -> None:
    """What stands below the text."""
    if answer.declined:
        typer.echo(f"Declined: the knowledge base does not seem to hold the answer (score {answer.score:.2f}, 0 to 1).")
    else:
        typer.echo("\n")
    for number, citation in enumerate(answer.citations, start=1):
        typer.echo(f"[{number}] {citation.document} {citation.start}-{citation.end}  support {citation.support:.2f}")
        typer.echo("    " + " ".join(citation.quote.split()))
    for sentence in answer.dropped:
        typer.echo(f"left out, no passage bears it out: {sentence}")
    Console(stderr=True, highlight=False).print(f"[dim]score {answer.score:.2f}, {seconds:.1f} s[/dim]")
