"""`moesaic data`: raw text into training data, one stage at a time or all of them by a recipe."""

from pathlib import Path
from typing import Annotated, Any

import typer

from moesaic.cli.data_report import print_composition, print_stages
from moesaic.cli.data_stages import Inputs, print_json, run_stages, write_stage
from moesaic.cli.progress import shown_progress
from moesaic.cli.shared_options import Json
from moesaic.errors import InputError, RecipeError

__all__ = [
    "app",
    "clean",
    "decontaminate",
    "dedup",
    "fetch",
    "mask",
    "quality",
    "report",
    "select",
    "shards",
    "train_quality",
]

app = typer.Typer(
    no_args_is_help=True,
    help="Clean, deduplicate, select and tokenize text for training.\n\n"
    "Sources are text, Markdown, HTML, JSON lines (.jsonl), Parquet, manual pages, folders of them, or kb:NAME for a "
    "knowledge base. `clean`, `dedup`, `decontaminate`, `mask`, `quality` and `select` write JSON lines that the next "
    "command reads; `shards` does all stages that a recipe names, and goes on where it was interrupted.",
)

Sources = Annotated[
    list[str], typer.Argument(metavar="SOURCE...", help="Files, folders, or kb:NAME for a knowledge base.")
]
To = Annotated[Path, typer.Option("--to", help="JSON lines to write: a document a line.")]
TextField = Annotated[str, typer.Option(help="Field of JSON lines, or column of Parquet, that holds the text.")]
Encoding = Annotated[str, typer.Option(help="Encoding of the files, such as gb18030.")]
ByLine = Annotated[bool, typer.Option("--by-line", help="Take every line of a text file for a document.")]


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
        print_json({"packages": [vars(package) for package in found]})
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
    write_stage(Inputs(sources, text_field, encoding, by_line), to, as_json=as_json, clean=options)


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
    write_stage(Inputs(sources, text_field, encoding, by_line), to, as_json=as_json, dedup=options)


@app.command()
def decontaminate(
    sources: Sources,
    to: To,
    against: Annotated[list[str], typer.Option(help="File or folder of evaluation texts.")],
    against_field: Annotated[
        list[str] | None, typer.Option(help="Field of their JSON lines, such as question; text if not given.")
    ] = None,
    text_field: TextField = "text",
    encoding: Encoding = "utf-8",
    by_line: ByLine = False,
    as_json: Json = False,
) -> None:
    """Leave out documents that share a long run of words with what a model will be evaluated with.

    A run is 13 words, or 24 characters of Chinese; shorter evaluation texts are looked for whole.

    Example: moesaic data decontaminate build/unique.jsonl --against exams.jsonl --against-field question --to out.jsonl
    """
    from moesaic.training.data.data_config import DecontaminateConfig

    config = DecontaminateConfig(paths=tuple(against), text_fields=tuple(against_field or ("text",)))
    write_stage(Inputs(sources, text_field, encoding, by_line), to, as_json=as_json, decontaminate=config)


@app.command()
def mask(
    sources: Sources,
    to: To,
    kind: Annotated[
        list[str] | None, typer.Option(help="What is masked: email, id, card, ip, phone; all if not given.")
    ] = None,
    text_field: TextField = "text",
    encoding: Encoding = "utf-8",
    by_line: ByLine = False,
    as_json: Json = False,
) -> None:
    """Replace private data by placeholders: <EMAIL>, <PHONE>, <ID>, <CARD>, <IP>.

    Numbers that fail their check stay, and so do addresses set aside for documentation.

    Example: moesaic data mask build/unique.jsonl --to build/masked.jsonl
    """
    from moesaic.training.data.data_config import MaskConfig
    from moesaic.training.data.private_data import KINDS

    config = MaskConfig(kinds=tuple(kind or KINDS))
    write_stage(Inputs(sources, text_field, encoding, by_line), to, as_json=as_json, mask=config)


@app.command()
def quality(
    sources: Sources,
    to: To,
    curated: Annotated[
        list[str],
        typer.Option(help="File or folder of texts of the wanted quality, or a classifier by train-quality (.npz)."),
    ],
    pareto: Annotated[
        float, typer.Option(help="Shape of the draw that keeps some of the rest: larger is stricter.")
    ] = 9.0,
    seed: Annotated[int, typer.Option(help="Determines the draws.")] = 0,
    text_field: TextField = "text",
    encoding: Encoding = "utf-8",
    by_line: ByLine = False,
    as_json: Json = False,
) -> None:
    """Keep what a classifier takes for curated texts, and with some luck the rest.

    The classifier is trained on the spot, curated texts against the sources, or was saved by train-quality.

    Example: moesaic data quality build/unique.jsonl --curated docs --to build/good.jsonl
    """
    from moesaic.training.data.data_config import QualityConfig

    config = QualityConfig(curated=tuple(curated), pareto=pareto)
    write_stage(Inputs(sources, text_field, encoding, by_line), to, as_json=as_json, quality=config, seed=seed)


@app.command("train-quality")
def train_quality(
    sources: Sources,
    to: Annotated[Path, typer.Option("--to", help="File of the classifier to write, ending with .npz.")],
    curated: Annotated[list[str], typer.Option(help="File or folder of texts of the wanted quality.")],
    most_texts: Annotated[int, typer.Option(help="Texts of each kind to train on.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Determines which texts, and their order.")] = 0,
    text_field: TextField = "text",
    encoding: Encoding = "utf-8",
    by_line: ByLine = False,
    as_json: Json = False,
) -> None:
    """Train a classifier of quality, curated texts against the sources, and keep it for `quality` and for recipes.

    A tenth of the texts is held out; what the classifier makes of it is printed, and kept with it.

    Example: moesaic data train-quality build/unique.jsonl --curated docs --to build/quality.npz
    """
    from moesaic.training.data.data_config import QualityConfig
    from moesaic.training.data.durable import made_folder
    from moesaic.training.data.quality_classifier import ClassifierOptions
    from moesaic.training.data.text_stages import learnt_quality

    if to.suffix != ".npz":
        raise InputError(f"--to {str(to)!r} must end with .npz: that is how `quality` and recipes know a classifier")
    options = ClassifierOptions(seed=seed)
    config = QualityConfig(curated=tuple(curated), most_texts=most_texts, classifier=options)
    with run_stages(Inputs(sources, text_field, encoding, by_line)) as (store, _):
        classifier = learnt_quality(config, store, seed=seed)
    made_folder(to.absolute().parent)
    classifier.save(to)
    found = vars(classifier.held_out)
    if as_json:
        print_json({"to": str(to), "held_out": found})
    else:
        typer.echo(", ".join(f"{name} {value:.3f}" for name, value in found.items() if name != "texts"))
        typer.echo(f"measured on {found['texts']} texts that were held out; the classifier is in {to}")


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
    write_stage(Inputs(sources, text_field, encoding, by_line), to, as_json=as_json, select=config)


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
        with run_stages(Inputs(sources, text_field, encoding, by_line)) as (_, made):
            found = made
    if plot is not None:
        plot_composition(found["composition"], plot)
    if as_json:
        print_json(found)
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
        print_json({"folder": str(prepared.folder), "digest": prepared.digest, "train": places} | dict(prepared.report))
    else:
        print_stages(dict(prepared.report))
        typer.echo(f"shards of {', '.join(prepared.train)} are in {prepared.folder}")


def _table(recipe: Path) -> dict[str, Any]:
    from moesaic.training.recipe_table import read_table

    table = read_table(recipe).get("data")
    if not isinstance(table, dict):
        raise RecipeError(f"{recipe} has no table [data]; it names sources and folder, see docs/training-data.md")

    return table
