"""The one table from errors to exit codes, and how an error is shown."""

from rich.console import Console
from rich.markup import escape

from moesaic.errors import (
    ArtifactError,
    EngineError,
    InputError,
    KnowledgeBaseError,
    MissingDependencyError,
    MoesaicError,
    ServiceError,
    StorageError,
    ToolError,
    TrainingError,
)

__all__ = ["EXIT_CODES", "exit_code", "report_failure"]

EXIT_CODES: tuple[tuple[type[MoesaicError], int], ...] = (
    (InputError, 2),
    (ArtifactError, 3),
    (StorageError, 4),
    (MissingDependencyError, 5),
    (EngineError, 6),
    (KnowledgeBaseError, 7),
    (ServiceError, 8),
    (TrainingError, 9),
    (ToolError, 10),
    (MoesaicError, 1),
)
"""Exit code of each kind of error, first match wins; 0 is success, 130 an interruption."""


def exit_code(error: MoesaicError) -> int:
    """The process's exit code for an error."""
    return next(code for kind, code in EXIT_CODES if isinstance(error, kind))


def report_failure(error: MoesaicError) -> None:
    """Print the error's kind and message on standard error."""
    console = Console(stderr=True, soft_wrap=True)
    console.print(f"[bold red]{type(error).__name__}[/bold red]: {escape(str(error))}", highlight=False)
