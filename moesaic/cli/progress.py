"""Progress of long work on standard error: a bar on a terminal, nothing else elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

__all__ = ["shown_progress"]


@contextmanager
def shown_progress(title: str) -> Iterator[Callable[[str, int, int], None]]:
    """Give a callback (stage, done, total) whose calls are drawn, one bar per stage."""
    bars: dict[str, TaskID] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        progress.console.print(f"[bold]{title}[/bold]", highlight=False)

        def show(stage: str, done: int, total: int) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(stage, total=total)
            progress.update(bars[stage], completed=done, total=total)

        yield show
