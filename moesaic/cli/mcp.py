"""`moesaic mcp serve`: our tools for hosts that speak the Model Context Protocol."""

import asyncio
import dataclasses
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moesaic.cli.shared_options import BaseFolder
from moesaic.errors import InputError

if TYPE_CHECKING:
    from moesaic.tools import Tool

__all__ = ["app", "serve"]

app = typer.Typer(no_args_is_help=True, help="Tools over the Model Context Protocol (MCP).")


@app.callback()
def _root() -> None:
    """Tools over the Model Context Protocol (MCP)."""


@app.command()
def serve(
    kb: Annotated[list[str] | None, typer.Option("--kb", help="Knowledge base to search, by name; repeatable.")] = None,
    base: BaseFolder = None,
    sqlite: Annotated[Path | None, typer.Option(help="SQLite file whose tables may be asked.")] = None,
    csv: Annotated[
        list[str] | None, typer.Option("--csv", help="NAME=FILE: a CSV file as a table; repeatable.")
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option("--search", help="Engine to search the web with, as moesaic search names them; repeatable."),
    ] = None,
    search_config: Annotated[
        Path | None, typer.Option(help="TOML file with a table named search, as moesaic search takes it.")
    ] = None,
    pages: Annotated[bool, typer.Option("--pages", help="Also read pages of the web, from public addresses.")] = False,
    allow: Annotated[
        list[str] | None,
        typer.Option(help="A private server whose pages may be read nevertheless, as ADDRESS:PORT; repeatable."),
    ] = None,
    python: Annotated[bool, typer.Option("--python", help="Also run programs, in the sandbox.")] = False,
    audit: Annotated[Path | None, typer.Option(help="File to which every call is appended, as JSON lines.")] = None,
) -> None:
    """Serve the calculator, dates, and what is named, over standard input and output.

    A host starts it by itself; its configuration names the command and its words.

    Example: moesaic mcp serve --kb guide --csv sales=sales.csv --search ddgs --pages
    """
    if allow and not pages:
        raise InputError(f"--allow {allow[0]} is about pages: add --pages, or leave it out")
    from moesaic.tools import JsonLinesAudit, Toolbox, ToolContext
    from moesaic.tools.mcp import serve_stdio

    with ExitStack() as opened:
        tools = _tools(opened, kb or [], base, sqlite, csv or [], python=python)
        tools += _web(opened, search or [], search_config, allow or [], pages=pages)
        record = None
        if audit is not None:
            record = JsonLinesAudit(audit)
            opened.callback(record.close)
        asyncio.run(serve_stdio(Toolbox(tools, audit=record), ToolContext.here()))


def _tools(
    opened: ExitStack, bases: list[str], home: Path | None, sqlite: Path | None, csv: list[str], *, python: bool
) -> "list[Tool[Any]]":
    """The tools, and what they reach for, which `opened` closes."""
    from moesaic.tools.builtin import (
        Calculator,
        DateTime,
        KnowledgeLookup,
        PythonProgram,
        ReadOnlyDatabase,
        SqlQuery,
    )

    tools: list[Tool[Any]] = [Calculator(), DateTime()]
    if bases:
        from moesaic.retrieval import KnowledgeHome

        for name in bases:
            lookup = KnowledgeLookup(opened.enter_context(KnowledgeHome(home).open(name)), holds=f"the base {name}")
            lookup.name = "knowledge" if len(bases) == 1 else f"knowledge_{name}"
            tools.append(lookup)
    if sqlite is not None:
        tools.append(SqlQuery(opened.enter_context(ReadOnlyDatabase.open(sqlite)), name="sqlite"))
    if csv:
        files = dict(_named_file(given) for given in csv)
        tools.append(SqlQuery(opened.enter_context(ReadOnlyDatabase.of_csv(files)), name="tables"))
    if python:
        from moesaic.tools.sandbox import Sandbox

        tools.append(PythonProgram(opened.enter_context(Sandbox())))
    return tools


def _web(
    opened: ExitStack, engines: list[str], config: Path | None, allow: list[str], *, pages: bool
) -> "list[Tool[Any]]":
    """The tools that reach beyond this machine."""
    from moesaic.tools.builtin import PageReader, WebSearch
    from moesaic.tools.page import AddressPolicy, PageFetcher
    from moesaic.tools.search import SearchConfig

    tools: list[Tool[Any]] = []
    if engines or config is not None:
        settings = SearchConfig() if config is None else SearchConfig.load(config)
        settings = dataclasses.replace(settings, engines=tuple(engines) or settings.engines)
        tools.append(WebSearch(opened.enter_context(settings.build())))
    if pages:
        fetcher = PageFetcher(policy=AddressPolicy(exceptions=frozenset(allow)))
        tools.append(PageReader(opened.enter_context(fetcher)))
    return tools


def _named_file(given: str) -> tuple[str, Path]:
    name, found, path = given.partition("=")
    if not found or not path:
        raise InputError(f"--csv {given!r} must be NAME=FILE, such as sales=sales.csv")
    return name, Path(path)
