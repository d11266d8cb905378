"""`moesaic search` and `moesaic page`: what search engines find, and what a page says, as a model gets them."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from moesaic.cli.shared_options import Json
from moesaic.errors import InputError, SearchError

if TYPE_CHECKING:
    from moesaic.tools.search import SearchConfig, SearchOutcome, SearchQuery

__all__ = ["page", "search"]

_SHOWN_CHARACTERS = 300
_LIVE_QUERIES = ("mixture of experts language model", "混合专家 语言模型")


def search(
    query: Annotated[str | None, typer.Argument(help="Keywords or a question.")] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            "--engine",
            "-e",
            help="searxng, brave, tavily, ddgs or kb:NAME; give it several times, in the order in which to ask. "
            "Without it all of the web's that are set up, ddgs last.",
        ),
    ] = None,
    k: Annotated[int, typer.Option("--k", "-k", help="How many results.")] = 8,
    language: Annotated[str | None, typer.Option(help="Language of the results, such as en, zh or zh-TW.")] = None,
    time_range: Annotated[str | None, typer.Option(help="How old a page may be: day, week, month or year.")] = None,
    safety: Annotated[str, typer.Option(help="Leave out pages for adults: off, moderate or strict.")] = "moderate",
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file with a table named search; without it, SEARXNG_URL and the like are used."),
    ] = None,
    record: Annotated[Path | None, typer.Option(help="File to append every exchange over HTTP to.")] = None,
    replay: Annotated[
        Path | None, typer.Option(help="File of such exchanges to answer from, without a network.")
    ] = None,
    live_check: Annotated[
        bool, typer.Option("--live-check", help="Ask each engine a question in English and one in Chinese, and report.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Ask search engines, the second only if the first does not answer, and show what they found.

    Example: moesaic search "how are experts quantized?" --engine searxng --engine ddgs -k 5
    """
    from moesaic.tools.search import Safety, SearchConfig, SearchQuery, TimeRange

    given = SearchConfig() if config is None else SearchConfig.load(config)
    settings = _with_engines(given, engine)
    if live_check:
        if query is not None or record is not None or replay is not None:
            raise InputError("--live-check asks questions of its own, of the engines themselves: give it alone")
        _check_live(settings, as_json)
        return

    if query is None:
        raise InputError("give a query, or --live-check")

    asked = SearchQuery(
        text=query,
        count=k,
        language=language,
        time_range=None if time_range is None else _member("--time-range", time_range, TimeRange),
        safety=_member("--safety", safety, Safety),
    )
    outcome = _searched(settings, asked, record, replay)
    if as_json:
        _print_json(outcome.to_json())
    else:
        _show(outcome)


def page(
    url: Annotated[str, typer.Argument(help="Address of a page, http or https.")],
    timeout: Annotated[float, typer.Option(help="Longest time, in seconds.")] = 20.0,
    allow: Annotated[
        list[str] | None,
        typer.Option(help="A private server that may be asked nevertheless, as ADDRESS:PORT, such as 127.0.0.1:8080."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Fetch a page as a model would get it: public addresses only, robots.txt heeded, readable text alone.

    Example: moesaic page https://example.org/article
    """
    from moesaic.tools.page import AddressPolicy, FetchOptions, PageFetcher

    policy = AddressPolicy(exceptions=frozenset(allow or ()))
    with PageFetcher(FetchOptions(timeout_s=timeout), policy=policy) as fetcher:
        found = fetcher.fetch(url)
    if as_json:
        _print_json(found.to_json())
        return

    console = Console(soft_wrap=True)
    console.print(f"[bold]{escape(found.title or found.final_url)}[/bold]", highlight=False)
    dated = f", of {found.published}" if found.published else ""
    console.print(
        f"{escape(found.final_url)} ({found.media_type}, {found.charset}, {found.byte_count} bytes{dated})\n",
        highlight=False,
    )
    console.print(escape(found.text), highlight=False)
    if found.truncated:
        console.print("\n[yellow]the page goes on[/yellow]")


def _with_engines(config: "SearchConfig", names: list[str] | None) -> "SearchConfig":
    return dataclasses.replace(config, engines=tuple(names)) if names else config


def _member(option: str, value: str, kind: Any) -> Any:
    if value not in list(kind):
        raise InputError(f"{option} {value!r} must be one of {', '.join(kind)}")
    return kind(value)


def _searched(
    config: "SearchConfig", query: "SearchQuery", record: Path | None, replay: Path | None
) -> "SearchOutcome":
    from moesaic.tools.page.exchange import plain_transport
    from moesaic.tools.search import Recording

    if record is not None and replay is not None:
        raise InputError("--record and --replay are one or the other")

    transport = None
    if record is not None:
        transport = Recording.record(record, plain_transport())
    elif replay is not None:
        transport = Recording.replay(replay)
    with config.build(transport=transport) as engine:
        return engine.search(query)


def _check_live(config: "SearchConfig", as_json: bool) -> None:
    from moesaic.tools.search import SearchEngine

    console = Console(soft_wrap=True)
    rows: list[dict[str, Any]] = []
    with config.build() as engine:
        for provider in engine.providers:
            for text in _LIVE_QUERIES:
                row: dict[str, Any] = {"engine": provider.name, "query": text, "results": 0, "problem": ""}
                try:
                    found = SearchEngine([provider], config.options).search(text).results
                    row["results"] = len(found)
                    row["problem"] = "" if found else "it found nothing, which it should not"
                except SearchError as error:
                    row["problem"] = str(error)
                rows.append(row)
                if not as_json:
                    verdict = f"[red]{escape(row['problem'])}[/red]" if row["problem"] else f"{row['results']} results"
                    console.print(f"{escape(provider.name)}  {escape(text)}  {verdict}", highlight=False)
    if as_json:
        _print_json({"checks": rows})
    if failed := sorted({row["engine"] for row in rows if row["problem"]}):
        raise SearchError(f"{', '.join(failed)} did not answer as it should")


def _show(outcome: "SearchOutcome") -> None:
    console = Console(soft_wrap=True)
    for attempt in outcome.attempts:
        console.print(f"[yellow]{escape(attempt.provider)}[/yellow]: {escape(attempt.reason)}", highlight=False)
    for result in outcome.results:
        console.print(f"[bold]{result.rank}. {escape(result.title)}[/bold]  {escape(result.provider)}", highlight=False)
        dated = f"  {result.published}" if result.published else ""
        console.print(f"   {escape(result.url)}{escape(dated)}", highlight=False)
        excerpt = " ".join(result.snippet.split())
        shown = excerpt if len(excerpt) <= _SHOWN_CHARACTERS else excerpt[:_SHOWN_CHARACTERS] + "…"
        console.print(f"   {escape(shown)}", highlight=False)
    if not outcome.results:
        console.print("nothing found")


def _print_json(value: dict[str, Any]) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
