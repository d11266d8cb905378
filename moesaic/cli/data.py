"""`moesaic data`: raw text into training data, one stage at a time or all of them by a recipe."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moesaic.cli.data_report import print_composition, print_stages
from moesaic.cli.progress import shown_progress
from moesaic.errors import MissingDependencyError, RecipeError

if TYPE_CHECKING:
    from moesaic.training.data.document_store import DocumentStore

__all__ = ["app", "clean", "dedup", "fetch", "report", "select", "shards"]

app = typer.Typer(
    no_args_is_help=True,
    help="Clean, deduplicate, select and tokenize text for training.\n\n"
    "Sources are text, Markdown, HTML, JSON lines (.jsonl), Parquet, manual pages, folders of them, or kb:NAME for a "
    "knowledge base. `clean`, `dedup` and `select` write JSON lines that the next command reads; `shards` does all "
    "stages that a recipe names, and goes on where it was interrupted.",
)

Sources = Annotated[
    list[str], typer.Argument(metavar="SOURCE...", help="Files, folders, or kb:NAME for a knowledge base.")
]
To = Annotated[Path, typer.Option("--to", help="JSON lines to write: a document a line.")]
TextField = Annotated[str, typer.Option(help="Field of JSON lines, or column of Parquet, that holds the text.")]
Encoding = Annotated[str, typer.Option(help="Encoding of the files, such as gb18030.")]
ByLine = Annotated[bool, typer.Option("--by-line", help="Take every line of a text file for a document.")]
Json = Annotated[bool, typer.Option("--json", help="Print machine-readable JSON.")]


@app.command()
def fetch(
    packages: Annotated[
        list[str], typer.Argument(metavar="PACKAGE...", help="Debian packages, name or name=version, or .deb files.")
    ],
    to: Annotated[Path, typer.Option("--to", help="Folder to unpack into; each package gets a folder there.")],
    as_json: Json = False,
) -> None:
    """Download documentation packages through apt and unpack them, without installing anything.

    Needs neither root nor the packages' dependencies. Packages that are there already are not fetched again. Good ones:
    git-doc, postgresql-doc-15, python3.11-doc; Chinese: manpages-zh, libreoffice-help-zh-cn, debian-reference-zh-cn.

    Example: moesaic data fetch git-doc manpages-zh --to build/debian
    """
    from moesaic.training.data.debian_packages import fetch_packages

    with shown_progress(f"Fetch {', '.join(packages)}") as progress:
        found = fetch_packages(packages, to, progress=lambda done, total: progress("packages", done, total))
    if as_json:
        _print_json({"packages": [vars(package) for package in found]})
    else:
        for package in found:
            typer.echo(f"{package.name} {package.version}: {package.folder}")


@app.command()
def clean(
    sources: Sources,
    to: To,
    language: Annotated[list[str] | None, typer.Option(help="Language that stays: en, zh or other.")] = None,
    without: Annotated[list[str] | None, typer.Option(metavar="RULE", help="Rule that does not hold.")] = None,
    text_field: TextField = "text",
    encoding: Encoding = "utf-8",
    by_line: ByLine = False,
    as_json: Json = False,
) -> None:
    """Bring texts into one form, and leave out those that break a rule for English or Chinese.

    The report says how often each rule was broken, how often it alone, and shows a text that broke it; switch a rule
    off by its name if it removes what you want.

    Example: moesaic data clean build/debian/git-doc --to build/clean.jsonl --without short_lines
    """
    from moesaic.training.data.cleaning import CleanOptions

    options = CleanOptions(languages=tuple(language or ("en", "zh")), disabled=tuple(without or ()))
    with _stages(sources, text_field, encoding, by_line, clean=options) as (store, found):
        _write_lines(store, to)
    _show_stages(found, to, as_json)


@app.command()
def dedup(
    sources: Sources,
    to: To,
    threshold: Annotated[float, typer.Option(help="Jaccard similarity of shingles from which texts are alike.")] = 0.7,
    text_field: TextField = "text",
    encoding: Encoding = "utf-8",
    by_line: ByLine = False,
    as_json: Json = False,
) -> None:
    """Leave out exact copies and near-duplicates; the longest of those that are alike stays.

    Candidates are found by MinHash (14 bands of 8 hashes over runs of five words, or five Chinese characters) and
    compared by their true similarity.

    Example: moesaic data dedup build/clean.jsonl --to build/unique.jsonl
    """
    from moesaic.training.data.near_duplicates import DedupOptions

    options = DedupOptions(threshold=threshold)
    with _stages(sources, text_field, encoding, by_line, dedup=options) as (store, found):
        _write_lines(store, to)
    _show_stages(found, to, as_json)


@app.command()
def select(
    sources: Sources,
    to: To,
    target: Annotated[list[str], typer.Option(help="File or folder of texts of the wanted kind.")],
    keep: Annotated[float, typer.Option(help="Share of the documents that stays, above 0 and at most 1.")] = 0.5,
    seed: Annotated[int, typer.Option(help="Determines the noise of the draw.")] = 0,
    text_field: TextField = "text",
    encoding: Encoding = "utf-8",
    by_line: ByLine = False,
    as_json: Json = False,
) -> None:
    """Keep the documents that are distributed like a target (DSIR: importance resampling of hashed n-grams).

    The report says how much nearer to held-out target texts they are, in nats, than as many random documents.

    Example: moesaic data select build/unique.jsonl --target docs --keep 0.3 --to build/selected.jsonl
    """
    from moesaic.training.data.data_config import SelectConfig
    from moesaic.training.data.importance_selection import SelectOptions

    config = SelectConfig(target=tuple(target), options=SelectOptions(keep=keep, seed=seed))
    with _stages(sources, text_field, encoding, by_line, select=config) as (store, found):
        _write_lines(store, to)
    _show_stages(found, to, as_json)


@app.command()
def report(
    sources: Sources,
    plot: Annotated[Path | None, typer.Option(help="PNG to draw.")] = None,
    text_field: TextField = "text",
    encoding: Encoding = "utf-8",
    by_line: ByLine = False,
    as_json: Json = False,
) -> None:
    """Say what texts are made of and how diverse they are, or what a preparation did.

    Give sources, or the one folder that `moesaic data shards` wrote to.

    Example: moesaic data report build/selected.jsonl --plot build/selected.png
    """
    from moesaic.training.data.composition_plot import plot_composition
    from moesaic.training.data.prepared import RECORD_NAME, PreparedData

    if len(sources) == 1 and (Path(sources[0]) / RECORD_NAME).is_file():
        found = dict(PreparedData.open(sources[0]).report)
    else:
        with _stages(sources, text_field, encoding, by_line) as (_, made):
            found = made
    if plot is not None:
        plot_composition(found["composition"], plot)
    if as_json:
        _print_json(found)
    else:
        print_stages(found)
        print_composition(found["composition"])


@app.command()
def shards(
    recipe: Annotated[Path, typer.Argument(help="TOML file with a table \\[data], such as a training recipe.")],
    tokenizer: Annotated[Path | None, typer.Option(help="Folder of the tokenizer, if not the recipe's.")] = None,
    to: Annotated[Path | None, typer.Option("--to", help="Folder to work in, if not the recipe's.")] = None,
    as_json: Json = False,
) -> None:
    """Do all stages of a recipe, from sources to shards of tokens that training reads.

    Interrupted in whatever way, the same command goes on; with nothing changed it is done at once.

    Example: moesaic data shards recipes/data.toml --tokenizer build/moe --to build/data
    """
    from moesaic.training.data.data_config import DataConfig
    from moesaic.training.data.preparation import prepare

    table = _table(recipe)
    changes = {"tokenizer": tokenizer, "folder": to}
    config = DataConfig.from_mapping(table | {name: str(path) for name, path in changes.items() if path is not None})
    with shown_progress(f"Prepare {recipe}") as progress:
        prepared = prepare(config, progress=progress)
    if as_json:
        places = {name: str(path) for name, path in prepared.train.items()}
        _print_json(
            {"folder": str(prepared.folder), "digest": prepared.digest, "train": places} | dict(prepared.report)
        )
    else:
        print_stages(dict(prepared.report))
        typer.echo(f"shards of {', '.join(prepared.train)} are in {prepared.folder}")


def _table(recipe: Path) -> dict[str, Any]:
    from moesaic.training.recipe_table import read_table

    table = read_table(recipe).get("data")
    if not isinstance(table, dict):
        raise RecipeError(f"{recipe} has no table [data]; it names sources and folder, see docs/training-data.md")

    return table


@contextmanager
def _stages(
    sources: list[str], text_field: str, encoding: str, by_line: bool, **stages: Any
) -> Iterator[tuple["DocumentStore", dict[str, Any]]]:
    """Documents after the given stages, and the report; every source is a corpus of its own."""
    try:
        from moesaic.training.data.data_config import DataConfig
        from moesaic.training.data.preparation import prepare_texts
        from moesaic.training.data.source import SourceConfig
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"training data needs {error.name}: pip install 'moesaic[train]'") from error

    named: dict[str, list[str]] = {}
    for given in sources:
        named.setdefault(_corpus_name(given), []).append(given)
    configs = tuple(
        SourceConfig(name=name, paths=tuple(paths), text_field=text_field, encoding=encoding, by_line=by_line)
        for name, paths in named.items()
    )
    with tempfile.TemporaryDirectory(prefix="moesaic-data-") as folder:
        config: DataConfig = DataConfig(
            sources=configs, folder=Path(folder), **({"clean": None, "dedup": None, "mask": None} | stages)
        )
        with shown_progress(f"Read {', '.join(sources)}") as progress:
            found = prepare_texts(config, progress=progress)
        yield found


def _corpus_name(given: str) -> str:
    stem = given.removeprefix("kb:") if given.startswith("kb:") else Path(given).absolute().name.split(".")[0]
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in stem) or "texts"


def _write_lines(store: "DocumentStore", to: Path) -> None:
    from moesaic.training.data.durable import made_folder, written_file

    made_folder(to.absolute().parent)
    with written_file(to.absolute()) as file:
        for document in store:
            file.write(document.to_line())


def _show_stages(found: dict[str, Any], to: Path, as_json: bool) -> None:
    if as_json:
        _print_json({"to": str(to), **found})
        return

    print_stages(found)
    typer.echo(f"wrote {found['composition']['all']['documents']} documents to {to}")


def _print_json(value: dict[str, Any]) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
