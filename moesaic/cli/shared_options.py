"""Options that several verbs have, in the same words."""

from pathlib import Path
from typing import Annotated

import typer

from moesaic.cli.model_client import DEFAULT_TARGET

__all__ = ["BaseFolder", "Json", "LocalEngine", "LocalModel", "RootCertificates", "Target", "TokenFile"]

BaseFolder = Annotated[
    Path | None,
    typer.Option(
        "--base", help="Folder of all knowledge bases; MOESAIC_KB_HOME or ~/.local/share/moesaic/kb if not given."
    ),
]
Target = Annotated[
    str | None, typer.Option(help=f"Server: HOST:PORT, or unix:/path of its socket; {DEFAULT_TARGET} if not given.")
]
LocalModel = Annotated[
    Path | None, typer.Option(help="Folder of an artifact, to run it in this process instead of asking a server.")
]
LocalEngine = Annotated[str, typer.Option(help="For --model: auto, vllm, or transformers (slow reference).")]
TokenFile = Annotated[Path | None, typer.Option(help="File with the credential that the server asks for.")]
RootCertificates = Annotated[Path | None, typer.Option(help="PEM file that vouches for the server; turns TLS on.")]
Json = Annotated[bool, typer.Option("--json", help="Print machine-readable JSON.")]
