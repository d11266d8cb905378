"""The command line, run in this process as the shell would run it."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from moesaic.cli import main

__all__ = ["Outcome", "assert_nothing_left", "edit_json", "refusal", "run"]


class Outcome(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    stdout: str
    stderr: str


def run(*words: object) -> Outcome:
    """Run `moesaic WORDS`; an exception that `main` lets through is one here too."""
    code = 0
    with (
        mock.patch("sys.argv", ["moesaic", *map(str, words)]),
        contextlib.redirect_stdout(io.StringIO()) as stdout,
        contextlib.redirect_stderr(io.StringIO()) as stderr,
    ):
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    return Outcome(code, stdout.getvalue(), stderr.getvalue())


def refusal(code: int, *words: object) -> str:
    """Run a command that must fail with `code`, in words and without a traceback; give its message on one line."""
    outcome = run(*words)
    assert outcome.code == code, outcome
    assert "Traceback" not in outcome.stderr
    return " ".join(outcome.stderr.split())


def assert_nothing_left(target: Path) -> None:
    """Neither the target nor a staging folder of it is there."""
    left = [path.name for path in target.parent.iterdir() if target.name in path.name]
    assert left == []


def edit_json(path: Path, **changes: Any) -> None:
    """Change fields of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
