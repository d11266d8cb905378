"""`moesaic sandbox`: run a program behind walls, and see which walls this machine offers."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from moesaic.cli.shared_options import Json
from moesaic.errors import InputError
from moesaic.tools.sandbox.config import SandboxConfig, Tier

if TYPE_CHECKING:
    from moesaic.tools.sandbox import Execution

__all__ = ["app", "probe_rows", "probe_tiers", "run_program"]

app = typer.Typer(no_args_is_help=True, help="Run programs behind walls, and see which walls this machine offers.")

_DEFAULTS = SandboxConfig()


@app.command("run")
def run_program(
    program: Annotated[str, typer.Argument(metavar="FILE", help="File of the program, or - for standard input.")],
    tier: Annotated[
        Tier | None, typer.Option(help="Walls to run it behind; the strongest that hold here if not given.")
    ] = None,
    timeout_s: Annotated[float, typer.Option("--timeout", help="Longest time in seconds.")] = _DEFAULTS.timeout_s,
    memory_bytes: Annotated[
        int, typer.Option("--memory-bytes", help="Most memory beyond the interpreter's.")
    ] = _DEFAULTS.memory_bytes,
    output_bytes: Annotated[
        int, typer.Option("--output-bytes", help="Most bytes that it may print.")
    ] = _DEFAULTS.output_bytes,
    files: Annotated[
        list[Path] | None,
        typer.Option("--file", help="File to put into its working directory, under its own name; may be repeated."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run one program and print what it printed, then its value.

    The exit code is 0 if it has a value, 1 if it failed in any way, 10 if no sandbox can be had here.

    Example: moesaic sandbox run solution.py --timeout 2 --file table.csv
    """
    from moesaic.tools.sandbox import Sandbox

    text = _read(program)
    given = {path.name: _content(path) for path in files} if files else None
    config = SandboxConfig(
        tier=tier, timeout_s=timeout_s, memory_bytes=memory_bytes, output_bytes=output_bytes, spares=0
    )
    with Sandbox(config) as sandbox:
        execution = sandbox.run(text, files=given)
    if as_json:
        typer.echo(json.dumps(execution.to_json(), ensure_ascii=False, indent=2))
    else:
        _show(execution)
    if not execution.ok:
        raise typer.Exit(1)


@app.command("probe")
def probe_tiers(as_json: Json = False) -> None:
    """Build each tier, attack it from inside, and say which of them hold.

    The exit code is 0 if one holds that needs no choice, else 1.

    Example: moesaic sandbox probe --json
    """
    from moesaic.tools.sandbox import probe

    report = probe().to_json()
    if as_json:
        typer.echo(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        table = Table(show_header=False)
        for name, words in probe_rows(report).items():
            table.add_row(escape(name), escape(words))
        Console().print(table)
    if report["best"] is None:
        raise typer.Exit(1)


def probe_rows(report: dict[str, Any]) -> dict[str, str]:
    """A probe's report as rows of a table."""
    rows = {"programs run behind": report["best"] or "nothing: they are refused"}
    for tier in report["tiers"]:
        landlock = f", with Landlock {tier['landlock']}" if tier["landlock"] else ""
        rows[f"tier {tier['tier']}"] = f"holds{landlock}" if tier["holds"] else f"no: {tier['reason']}"
    return rows


def _read(name: str) -> str:
    if name == "-":
        return sys.stdin.read()
    try:
        return _content(Path(name)).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not text in UTF-8 ({error}); give a file of Python text") from error


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give an existing file") from error


def _show(execution: "Execution") -> None:
    typer.echo(execution.stdout, nl=False)
    typer.echo(execution.stderr, nl=False, err=True)
    if execution.ok:
        typer.echo(json.dumps(execution.value, ensure_ascii=False))
    elif execution.error is not None:
        typer.echo(execution.error.traceback, nl=False, err=True)
        typer.echo(f"{execution.status}: {execution.error.message}", err=True)
