"""`moesaic adapt`: a model goes through the stages of a plan, from the text of a field to that of a task."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moesaic.cli.progress import shown_progress
from moesaic.cli.shared_options import Json

if TYPE_CHECKING:
    from moesaic.training.adaptation.adapting import Adapted

__all__ = ["adapt"]


def adapt(
    plan: Annotated[Path, typer.Argument(help="A plan in TOML with \\[plan], such as recipes/adaptation.toml.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one value, such as stages.dapt.passes=0.5."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Adapt a model to a field and to a task, stage by stage: DAPT, TAPT, kNN-TAPT.

    The same command goes on after an interruption: finished stages are passed over, and the one that was interrupted
    goes on exactly where it stopped. If the plan asks for a mixture, short runs
    first find how much general text to keep.

    Example: moesaic adapt recipes/adaptation.toml --set plan.folder=build/adaptation
    """
    from moesaic.training.adaptation.adapting import adapt as adapted
    from moesaic.training.adaptation.plan_recipe import load_plan_recipe

    outcome = adapted(load_plan_recipe(plan, settings or ()), watch=_watched)
    if as_json:
        typer.echo(json.dumps(outcome.to_json(), indent=2, ensure_ascii=False))
    else:
        _tell(outcome)


@contextmanager
def _watched(name: str, steps: int, /) -> Iterator[Any]:
    """Listeners for one part of the plan, drawn on standard error; data has no steps."""
    from moesaic.training.command import shown_training

    if not steps:
        with shown_progress(name) as progress:
            yield (lambda _line: None), progress
        return
    typer.echo(f"{name}: {steps} steps", err=True)
    with shown_training(steps, quiet=False) as listeners:
        yield listeners


def _tell(outcome: "Adapted") -> None:
    nearest, mixing = outcome.nearest, outcome.mixing
    if nearest is not None:
        typer.echo(
            f"nearest: {nearest['chosen']:,} of {nearest['field_sentences']:,} sentences, mean similarity "
            f"{nearest['mean_similarity']:.3f} (any sentence: {nearest['field_similarity']:.3f})"
        )
    if mixing is not None:
        bound = "the budget allows no more" if mixing.bound_by_budget else "the best of those measured"
        typer.echo(
            f"mixing: {mixing.ratio:.3f} of the stage's own text, {bound}; expected bits per byte {mixing.domain:.4f}, "
            f"on general text {mixing.general:.4f} of at most {mixing.limit:.4f}"
        )
    for stage in outcome.stages:
        settings = stage.settings
        done = "was finished" if stage.passed_over else f"{settings.steps} steps at {settings.learning_rate:g}"
        typer.echo(f"{settings.stage.name}: {done}")
        for name, value in stage.figures.items():
            typer.echo(f"  {name} {value:.4f}")
    for artifact in outcome.stages[-1].artifacts:
        typer.echo(f"artifact {artifact.folder} {artifact.digest[:16]}")
