"""`moesaic train-pairs`: a small encoder that says whether two texts belong together."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moesaic.cli.progress import shown_progress
from moesaic.cli.shared_options import Json

if TYPE_CHECKING:
    from moesaic.training.tuning.pair_quality import PairQuality
    from moesaic.training.tuning.pair_recipe import PairOutcome

__all__ = ["train_pairs"]


def train_pairs(
    recipe: Annotated[
        Path, typer.Argument(help="A recipe in TOML with \\[corpus], such as recipes/pairs-relevance.toml.")
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one value, such as corpus.relation=coherence."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a classifier of pairs on what a corpus gives without labels, and say how good it is.

    Quality is measured on documents that were not learnt, before and after, and is saved with the classifier.

    Example: moesaic train-pairs recipes/pairs-relevance.toml --set 'corpus.documents=["handbook"]'
    """
    from moesaic.training.tuning.pair_recipe import load_pair_recipe, train_pair_recipe

    loaded = load_pair_recipe(recipe, settings or ())
    with shown_progress(f"Train {recipe}") as progress:
        outcome = train_pair_recipe(loaded, progress=lambda step, steps, loss: progress("train", step, steps))
    if as_json:
        typer.echo(json.dumps(outcome.to_json(), indent=2, ensure_ascii=False))
    else:
        _tell(outcome)


def _tell(outcome: "PairOutcome") -> None:
    for problem in outcome.problems:
        typer.echo(f"left out {problem.path}: {problem.reason}", err=True)
    counts = ", ".join(f"{count:,} {name}" for name, count in outcome.pairs.items())
    typer.echo(f"pairs: {counts}")
    typer.echo(f"before: {_figures(outcome.trained.before)}")
    typer.echo(f"after {outcome.trained.steps} steps: {_figures(outcome.trained.after)}")
    if outcome.trained.hard_auc is not None:
        typer.echo(f"within a document: AUC {outcome.trained.hard_auc:.3f}")
    typer.echo(f"the classifier is in {outcome.folder}")


def _figures(quality: "PairQuality") -> str:
    return (
        f"AUC {quality.auc:.3f}, accuracy {quality.accuracy:.3f} (always no: {1 - quality.positive_share:.3f}), "
        f"log loss {quality.log_loss:.3f}, calibration error {quality.calibration_error:.3f}"
    )
