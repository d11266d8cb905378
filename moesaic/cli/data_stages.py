"""What the verbs of `moesaic data` share: sources through one stage, JSON lines out, and the report shown."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from moesaic.cli.data_report import print_stages
from moesaic.cli.progress import shown_progress
from moesaic.errors import MissingDependencyError

if TYPE_CHECKING:
    from moesaic.training.data.document_store import DocumentStore

__all__ = ["Inputs", "print_json", "run_stages", "write_stage"]


class Inputs(NamedTuple):
    """The sources of a command, and how they are read."""

    sources: list[str]
    text_field: str = "text"
    encoding: str = "utf-8"
    by_line: bool = False


def write_stage(inputs: Inputs, to: Path, *, as_json: bool, **stages: Any) -> None:
    """Run stages of a preparation over sources, write what is left as JSON lines, and show the report."""
    from moesaic.training.data.durable import made_folder, written_file

    with run_stages(inputs, **stages) as (store, found):
        made_folder(to.absolute().parent)
        with written_file(to.absolute()) as file:
            for document in store:
                file.write(document.to_line())
    if as_json:
        print_json({"to": str(to), **found})
        return

    print_stages(found)
    typer.echo(f"wrote {found['composition']['all']['documents']} documents to {to}")


@contextmanager
def run_stages(inputs: Inputs, **stages: Any) -> Iterator[tuple["DocumentStore", dict[str, Any]]]:
    """Documents after the given stages, and the report; every source is a corpus of its own."""
    try:
        from moesaic.training.data.data_config import DataConfig
        from moesaic.training.data.preparation import prepare_texts
        from moesaic.training.data.source import SourceConfig
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"training data needs {error.name}: pip install 'moesaic[train]'") from error

    named: dict[str, list[str]] = {}
    for given in inputs.sources:
        named.setdefault(_corpus_name(given), []).append(given)
    reading: dict[str, Any] = {name: value for name, value in inputs._asdict().items() if name != "sources"}
    configs = tuple(SourceConfig(name=name, paths=tuple(paths), **reading) for name, paths in named.items())
    with tempfile.TemporaryDirectory(prefix="moesaic-data-") as folder:
        config: DataConfig = DataConfig(
            sources=configs, folder=Path(folder), **({"clean": None, "dedup": None, "mask": None} | stages)
        )
        with shown_progress(f"Read {', '.join(inputs.sources)}") as progress:
            found = prepare_texts(config, progress=progress)
        yield found


def print_json(value: dict[str, Any]) -> None:
    """Machine-readable output."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _corpus_name(given: str) -> str:
    stem = given.removeprefix("kb:") if given.startswith("kb:") else Path(given).absolute().name.split(".")[0]
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in stem) or "texts"
