"""`moesaic train` and `python -m moesaic.training`: one command, in a place that both may import.

Nothing heavy is loaded until a recipe is run.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from moesaic.training.pretraining import Outcome

__all__ = ["Listeners", "ResumeMode", "shown_training", "train"]


class ResumeMode(StrEnum):
    """What to do with a run that is in the folder already."""

    AUTO = "auto"
    """Go on with it, if its recipe is the same."""
    CHANGED = "changed"
    """Go on with it, though the recipe has changed."""
    NEVER = "never"
    """Refuse."""


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe in TOML, such as those in recipes/.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one value, such as run.steps=100.")
    ] = None,
    resume: Annotated[
        ResumeMode,
        typer.Option(
            help="A run that is in run.folder already: auto goes on if the recipe is the same, changed goes on with "
            "the new recipe, never refuses."
        ),
    ] = ResumeMode.AUTO,
    as_json: Annotated[bool, typer.Option("--json", help="Print machine-readable JSON.")] = False,
) -> None:
    """Train a model as a recipe says; the same command goes on after an interruption, exactly where it stopped.

    Example: moesaic train recipes/tiny.toml --set run.steps=100
    """
    from moesaic.training.pretraining import pretrain
    from moesaic.training.processes import joined_processes
    from moesaic.training.recipe import load_recipe

    loaded = load_recipe(recipe, settings or ())
    with joined_processes() as processes:
        with shown_training(loaded.run.steps, quiet=not processes.is_first) as (report, progress):
            outcome = pretrain(loaded, resume=resume.value, processes=processes, report=report, progress=progress)
        if processes.is_first:
            _tell(outcome, as_json)


Listeners = tuple[Callable[[Mapping[str, Any]], None], Callable[[str, int, int], None]]


@contextmanager
def shown_training(steps: int, *, quiet: bool) -> Iterator[Listeners]:
    """Listeners for the lines of the metrics and for the stages of writing the artifact; both draw on standard error.

    On a terminal there is a bar; elsewhere one line of text for about every twentieth of the run, for a log.
    """
    console = Console(stderr=True, soft_wrap=True, quiet=quiet)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bars:
        training = bars.add_task("train", total=steps, figures="")
        stages: dict[str, Any] = {}
        every = max(1, steps // 20)

        def report(line: Mapping[str, Any]) -> None:
            if "warning" in line:
                console.print(f"[yellow]warning[/yellow]: {line['warning']}", highlight=False)
            elif "evaluation" in line:
                console.print(f"step {line['step']}: {_figures(line['evaluation'])}", highlight=False)
            else:
                bars.update(training, completed=line["step"], figures=_step_figures(line))
                if not console.is_terminal and (line["step"] % every == 0 or line["skipped"]):
                    console.print(f"step {line['step']}/{steps}: {_step_figures(line)}", highlight=False)

        def progress(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                stages[stage] = bars.add_task(stage, total=total, figures="")
            bars.update(stages[stage], completed=done, total=total)

        yield report, progress


def _figures(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in values.items())


def _step_figures(line: Mapping[str, Any]) -> str:
    """Loss, balance and speed of a step, as short as can be."""
    loss = "not finite" if line["loss"] is None else f"{line['loss']:.4f}"
    worst = max((layer["max_violation"] for layer in line.get("experts", ())), default=None)
    balance = "" if worst is None else f", MaxVio {worst:.2f}"
    skipped = ", skipped" if line["skipped"] else ""
    return f"loss {loss}{balance}, {line['tokens_per_s']:.0f} tokens/s{skipped}"


def _tell(outcome: "Outcome", as_json: bool) -> None:
    """The outcome on standard output."""
    artifacts = [{"folder": str(artifact.folder), "digest": artifact.digest} for artifact in outcome.artifacts]
    report = {
        "steps": outcome.steps,
        "resumed_at": outcome.resumed_at,
        "evaluation": outcome.figures,
        "artifacts": artifacts,
    }
    if as_json:
        typer.echo(json.dumps(report, indent=2))
        return
    resumed = "" if outcome.resumed_at is None else f" (resumed at step {outcome.resumed_at})"
    typer.echo(f"trained {outcome.steps} steps{resumed}")
    if outcome.figures:
        typer.echo(_figures(outcome.figures))
    for artifact in artifacts:
        typer.echo(f"artifact {artifact['folder']} {artifact['digest'][:16]}")
