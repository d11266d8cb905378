"""The root of the command line: help, version, and the one table from errors to exit codes."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

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


def test_every_error_has_its_own_kind_of_exit_code() -> None:
    codes = {
        "InputError": 2,
        "ConfigError": 2,
        "UnsupportedModelError": 2,
        "SchemeError": 2,
        "TokenizerError": 2,
        "RequestError": 2,
        "ContextOverflowError": 2,
        "NotFoundError": 2,
        "RecipeError": 2,
        "CorpusError": 2,
        "DocumentError": 2,
        "TrainingError": 9,
        "DivergedError": 9,
        "DamagedRunError": 9,
        "RunBusyError": 9,
        "GateError": 9,
        "ArtifactError": 3,
        "ForeignArtifactError": 3,
        "DamagedArtifactError": 3,
        "CanaryError": 3,
        "StorageError": 4,
        "MissingDependencyError": 5,
        "EngineError": 6,
        "EngineDeadError": 6,
        "EngineOverloadedError": 6,
        "UnsupportedFeatureError": 6,
        "KnowledgeBaseError": 7,
        "ForeignKnowledgeBaseError": 7,
        "DamagedKnowledgeBaseError": 7,
        "EmbedderMismatchError": 7,
        "KnowledgeBaseBusyError": 7,
        "ServiceError": 8,
        "UnavailableError": 8,
        "DeadlineExceededError": 8,
        "UnauthenticatedError": 8,
        "PermissionDeniedError": 8,
        "MoesaicError": 1,
    }
    special = {
        "RequestError": errors.RequestError("n", "m"),
        "ContextOverflowError": errors.ContextOverflowError("n", "m"),
        "NotFoundError": errors.NotFoundError("model", "n", "m"),
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
        [sys.executable, "-c", program, "--help"], capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_installed_command_ends_with_the_error_s_code(tmp_path: Path) -> None:
    installed = Path(sys.executable).with_name("moesaic")
    done = subprocess.run(
        [installed, "model", "info", tmp_path], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 3
    assert done.stdout == ""
    assert "ForeignArtifactError" in done.stderr
    assert str(tmp_path) in done.stderr
    assert "Traceback" not in done.stderr
