"""`moesaic registry`: the versions of a served model: publish one, list them, go back to one."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from moesaic.artifact import ModelArtifact, ModelRegistry
from moesaic.cli.progress import shown_progress
from moesaic.cli.shared_options import Json

__all__ = ["app", "history", "list_", "publish", "rollback"]

app = typer.Typer(
    no_args_is_help=True,
    help="Keep the versions of one model. A server that was started on a registry follows what is published there: "
    "[bold]moesaic serve --model REGISTRY[/bold].",
)

Registry = Annotated[Path, typer.Argument(metavar="REGISTRY", help="Folder of the registry.")]


@app.command()
def publish(
    registry: Registry,
    artifact: Annotated[Path, typer.Argument(help="Folder of the artifact; it is copied.")],
    note: Annotated[str | None, typer.Option(help="Why, for the history.")] = None,
    as_json: Json = False,
) -> None:
    """Add an artifact to a registry, which is made if need be, and make it the version that servers serve.

    Example: moesaic registry publish build/registry build/moe-int8 --note "first"
    """
    opened = ModelArtifact.open(artifact)
    with shown_progress(f"Publish {artifact}") as progress:
        opened.verify(lambda _, done, total: progress("check digests", done, total))
        made = ModelRegistry.create(registry)
        version = made.publish(opened, **({} if note is None else {"note": note}))
    _told(as_json, {"version": version, "registry": str(made.folder)}, f"version {version} is current in {made.folder}")


@app.command("list")
def list_(registry: Registry, as_json: Json = False) -> None:
    """List the versions with what they are, the current one marked.

    Example: moesaic registry list build/registry
    """
    opened = ModelRegistry.open(registry)
    rows = sorted((_described(opened, version) for version in opened.versions), key=lambda row: row["created"])
    if as_json:
        marked = [row | {"current": row["version"] == opened.current} for row in rows]
        typer.echo(json.dumps(marked, indent=2, ensure_ascii=False))
        return
    table = Table(title=str(opened.folder), title_justify="left")
    for column in ("", "version", "name", "made", "by", "weights"):
        table.add_column(column)
    for row in rows:
        mark = "→" if row["version"] == opened.current else ""
        table.add_row(mark, row["version"], row["name"], row["created"], row["lineage"], row["quantization"])
    Console().print(table)


@app.command()
def history(registry: Registry, as_json: Json = False) -> None:
    """Tell what happened, oldest first: what was published, served, refused, rolled back, and why.

    Example: moesaic registry history build/registry
    """
    events = ModelRegistry.open(registry).history()
    if as_json:
        typer.echo(json.dumps([event.to_json() for event in events], indent=2, ensure_ascii=False))
        return
    for event in events:
        facts = ", ".join(f"{name} {value}" for name, value in event.facts.items() if not isinstance(value, dict))
        typer.echo(f"{event.time}  {event.verb.value:<11}  {event.version}  {facts}".rstrip())


@app.command()
def rollback(
    registry: Registry,
    version: Annotated[str | None, typer.Argument(help="Which one, or how it begins; else the one before.")] = None,
    note: Annotated[str | None, typer.Option(help="Why, for the history.")] = None,
    as_json: Json = False,
) -> None:
    """Make an earlier version the current one again; servers that follow the registry go back to it.

    Example: moesaic registry rollback build/registry --note "answers got worse"
    """
    opened = ModelRegistry.open(registry)
    chosen = opened.rollback(version, **({} if note is None else {"note": note}))
    _told(as_json, {"version": chosen, "registry": str(opened.folder)}, f"version {chosen} is current again")


def _described(registry: ModelRegistry, version: str) -> dict[str, str]:
    manifest = registry.artifact(version).manifest
    quantization = manifest.quantization
    return {
        "version": version,
        "name": manifest.name,
        "created": manifest.lineage.created,
        "lineage": " → ".join(step.operation for step in (*reversed(manifest.lineage.ancestors), manifest.lineage)),
        "quantization": manifest.architecture.dtype if quantization is None else quantization.scheme,
    }


def _told(as_json: bool, facts: dict[str, str], text: str) -> None:
    typer.echo(json.dumps(facts, indent=2, ensure_ascii=False) if as_json else text)
