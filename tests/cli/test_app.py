"""The root of the command line: help, version, and the one table from errors to exit codes."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.text import Text

import moesaic
from moesaic import errors
from moesaic.cli.app import app
from moesaic.cli.failure import EXIT_CODES, exit_code, report_failure
from tests.cli.running import run


def verbs(group: typer.Typer = app, *parents: str) -> Iterator[tuple[str, ...]]:
    """Every command as the words that call it."""
    for command in group.registered_commands:
        assert command.callback is not None
        yield (*parents, command.name or command.callback.__name__)
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        assert inner.name
        yield from verbs(inner.typer_instance, *parents, inner.name)


VERBS = sorted(verbs())


def test_the_verbs_of_the_documents_are_there() -> None:
    model = [("model", name) for name in ("info", "pack", "quantize", "upcycle", "verify")]
    assert {("doctor",), ("generate",), *model} <= set(VERBS)


def test_help_names_every_verb_and_where_to_begin() -> None:
    outcome = run("--help")
    assert outcome.code == 0
    assert all(words[0] in outcome.stdout for words in VERBS)
    assert "moesaic doctor" in outcome.stdout


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_every_verb_explains_itself_with_an_example(words: tuple[str, ...]) -> None:
    outcome = run(*words, "--help")
    assert outcome.code == 0
    assert f"Example: moesaic {' '.join(words)}" in " ".join(outcome.stdout.split())
    undescribed = [
        line for line in outcome.stdout.splitlines() if line.strip(" │").startswith("--") and "  " not in line
    ]
    assert undescribed == []


def test_no_word_of_a_help_text_is_taken_for_markup() -> None:
    """Rich swallows [refresh] unless it is escaped, and the table's name is gone from the help."""

    def texts(command: Any) -> Iterator[str]:
        yield from filter(None, [command.help, *(getattr(each, "help", None) for each in command.params)])
        for inner in getattr(command, "commands", {}).values():
            yield from texts(inner)

    found = list(texts(typer.main.get_command(app)))
    assert len(found) > 100
    for text in found:
        meant = {word for word in re.findall(r"\[([\w.]+)\]", text) if word != "bold"}
        shown = set(re.findall(r"\[([\w.]+)\]", Text.from_markup(text).plain))
        assert meant == shown, text


def test_version() -> None:
    assert run("--version") == (0, f"moesaic {moesaic.__version__}\n", "")


@pytest.mark.parametrize("words", [[], ["model"]])
def test_without_a_verb_it_shows_help(words: list[str]) -> None:
    outcome = run(*words)
    assert "Usage" in outcome.stdout + outcome.stderr
    assert outcome.code in (0, 2)


@pytest.mark.parametrize("words", [["frobnicate"], ["model", "upcycle", "--frobnicate"], ["model", "upcycle", "one"]])
def test_words_it_does_not_know_are_refused_with_code_2(words: list[str]) -> None:
    outcome = run(*words)
    assert outcome.code == 2
    assert "Usage" in outcome.stderr
    assert "Traceback" not in outcome.stderr


KINDS = {
    1: "MoesaicError",
    2: (
        "InputError ConfigError UnsupportedModelError SchemeError TokenizerError RequestError ContextOverflowError "
        "NotFoundError RecipeError CorpusError DocumentError ToolArgumentError"
    ),
    3: "ArtifactError ForeignArtifactError DamagedArtifactError CanaryError",
    4: "StorageError",
    5: "MissingDependencyError",
    6: "EngineError EngineDeadError EngineOverloadedError UnsupportedFeatureError",
    7: (
        "KnowledgeBaseError ForeignKnowledgeBaseError DamagedKnowledgeBaseError EmbedderMismatchError "
        "KnowledgeBaseBusyError"
    ),
    8: "ServiceError UnavailableError DeadlineExceededError UnauthenticatedError PermissionDeniedError",
    9: "TrainingError DivergedError DamagedRunError RunBusyError GateError",
    10: (
        "ToolError ToolRefusedError SandboxError SandboxBusyError SandboxUnavailableError SearchError "
        "SearchBudgetError SearchProviderError SearchRateLimitedError UnrecordedExchangeError PageError "
        "ForbiddenAddressError PageLimitError RobotsError UnreadablePageError"
    ),
}
"""Names of the errors that end the command with each code."""


def test_every_error_has_its_own_kind_of_exit_code() -> None:
    codes = {name: code for code, names in KINDS.items() for name in names.split()}
    special = {
        "RequestError": errors.RequestError("n", "m"),
        "ContextOverflowError": errors.ContextOverflowError("n", "m"),
        "NotFoundError": errors.NotFoundError("model", "n", "m"),
        "ToolArgumentError": errors.ToolArgumentError("n", "m"),
        "SearchBudgetError": errors.SearchBudgetError("m", resource="queries"),
        "SearchProviderError": errors.SearchProviderError("m", provider="n"),
        "SearchRateLimitedError": errors.SearchRateLimitedError("m", provider="n"),
        "PageError": errors.PageError("m", url="n"),
        "ForbiddenAddressError": errors.ForbiddenAddressError("m", url="n"),
        "PageLimitError": errors.PageLimitError("m", url="n"),
        "RobotsError": errors.RobotsError("m", url="n"),
        "UnreadablePageError": errors.UnreadablePageError("m", url="n"),
        "CanaryError": errors.CanaryError("m", difference=1.0, threshold=0.1),
        "DivergedError": errors.DivergedError("m", step=1, culprit="loss"),
    }
    assert set(codes) == set(errors.__all__)
    for name, code in codes.items():
        assert exit_code(special.get(name) or getattr(errors, name)("m")) == code, name
    assert EXIT_CODES[-1][0] is errors.MoesaicError


def test_a_failure_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    message = "got [bold]x[/bold] and [/] in /a/very/long/" + "path/" * 40 + "end: 给出数字"
    report_failure(errors.InputError(message))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"InputError: {message}\n"


def test_help_loads_neither_torch_nor_vllm() -> None:
    program = (
        "import sys\nfrom moesaic.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'vllm', 'transformers', 'numpy'} & sys.modules.keys()\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "--help"], capture_output=True, text=True, timeout=240, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_installed_command_ends_with_the_error_s_code(tmp_path: Path) -> None:
    installed = Path(sys.executable).with_name("moesaic")
    done = subprocess.run(
        [installed, "model", "info", tmp_path], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 3
    assert done.stdout == ""
    assert "ForeignArtifactError" in done.stderr
    assert str(tmp_path) in done.stderr
    assert "Traceback" not in done.stderr
