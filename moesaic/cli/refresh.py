"""`moesaic refresh`: a new version of a served model, or a reason why the old one stays."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from moesaic.cli.model_client import read_token
from moesaic.cli.shared_options import Json

__all__ = ["refresh"]


def refresh(
    recipe: Annotated[Path, typer.Argument(help="A refresh in TOML, with \\[refresh] and \\[gate].")],
    server: Annotated[
        str | None,
        typer.Option(metavar="ADDR", help="The server that follows the registry; waits until it serves the version."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one value, such as refresh.wait_s=60."),
    ] = None,
    token_file: Annotated[Path | None, typer.Option(help="File with the server's token, if it wants one.")] = None,
    root_certificates: Annotated[Path | None, typer.Option(help="Roots for the server's TLS, in PEM.")] = None,
    as_json: Json = False,
) -> None:
    """Train, round, check, compare with what is served, publish, and see it served; refuse what is worse.

    Start the server on the registry: moesaic serve --model build/registry

    Example: moesaic refresh recipes/refresh.toml --server 127.0.0.1:50051
    """
    from moesaic.client import Client
    from moesaic.training.command import shown_training
    from moesaic.training.refresh import load_refresh_recipe
    from moesaic.training.refresh import refresh as refreshed

    loaded = load_refresh_recipe(recipe, settings or ())
    with ExitStack() as stack:
        client = None
        if server is not None:
            token = None if token_file is None else read_token(token_file)
            client = stack.enter_context(Client(server, token=token, root_certificates=root_certificates))
        report, progress = stack.enter_context(shown_training(loaded.training.run.steps, quiet=False))
        found = refreshed(loaded, server=client, report=report, progress=progress)
    if as_json:
        facts = {
            "version": found.version,
            "former": found.former,
            "served": found.served,
            "gate": [comparison.to_json() for comparison in found.comparisons],
        }
        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    for comparison in found.comparisons:
        typer.echo(str(comparison))
    former = "the first one" if found.former is None else f"after {found.former}"
    typer.echo(f"version {found.version} is current, {former}{', and served' if found.served else ''}")
