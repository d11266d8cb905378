"""`python -m moesaic.training RECIPE`: the same as `moesaic train RECIPE`, and what torchrun starts.

torchrun --nproc-per-node 2 -m moesaic.training recipes/tiny.toml
"""

import sys

import typer

from moesaic.errors import InputError, MoesaicError, StorageError, TrainingError
from moesaic.training.command import train

__all__ = ["main"]

_EXIT_CODES = ((InputError, 2), (StorageError, 4), (TrainingError, 9), (MoesaicError, 1))
"""As the command line has them; training may not import it."""


def main() -> None:
    """Run the command; a `MoesaicError` becomes one message and its exit code."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(train)
    try:
        app(prog_name="python -m moesaic.training")
    except MoesaicError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        sys.exit(next(code for kind, code in _EXIT_CODES if isinstance(error, kind)))


if __name__ == "__main__":
    main()
