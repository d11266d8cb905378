"""The conventions hold in every file, and each of them is shown to fail on a sample that breaks it."""

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from moesaic import errors
from tests import conventions
from tests.repository import ROOT, parsed, project_files, python_files

Rule = Callable[[ast.Module], Iterable[str]]

RULES: dict[Rule, tuple[str, ...]] = {
    conventions.long_functions: ("moesaic", "tests", "benchmarks", "examples"),
    conventions.forbidden_statements: ("moesaic", "tests", "benchmarks", "examples"),
    conventions.loose_configurations: ("moesaic", "benchmarks"),
    conventions.undocumented: ("moesaic",),
    conventions.stray_all: ("moesaic",),
    conventions.prints: ("moesaic",),
    conventions.foreign_errors: ("moesaic",),
    conventions.skipped_tests: ("tests",),
}
"""Each rule about syntax, and the folders where it holds."""

EXEMPT: dict[Rule, str] = {conventions.prints: "moesaic/cli/", conventions.foreign_errors: "moesaic/errors.py"}
"""Where a rule does not hold, by the beginning of the path. This list may only shrink."""

BROKEN: list[tuple[Rule, str, str]] = [
    (conventions.long_functions, "async def f():\n" + "    x = 1\n" * 60, "61 lines"),
    (conventions.forbidden_statements, "try:\n    f()\nexcept OSError:\n    pass", "swallows"),
    (conventions.forbidden_statements, "try:\n    f()\nexcept OSError:\n    'why'\n    ...", "swallows"),
    (conventions.forbidden_statements, "with contextlib.suppress(Exception):\n    f()", "every error"),
    (conventions.forbidden_statements, "def f():\n    raise NotImplementedError('later')", "NotImplementedError"),
    (conventions.loose_configurations, "@dataclass(kw_only=True)\nclass EngineConfig:\n    x: int", "frozen"),
    (conventions.loose_configurations, "@dataclasses.dataclass(frozen=True)\nclass Settings:\n    x: int", "kw_only"),
    (conventions.loose_configurations, "@dataclass\nclass SomeOptions:\n    x: int", "frozen"),
    (conventions.undocumented, "x = 1", "module"),
    (conventions.undocumented, "'''Doc.'''\nclass A:\n    pass", "A has no docstring"),
    (conventions.undocumented, "'''Doc.'''\nasync def f(): ...", "f has no docstring"),
    (
        conventions.undocumented,
        "'''D.'''\n@dataclass\nclass AConfig:\n    '''D.'''\n    a: int\n    b: int\n    '''D.'''",
        r"AConfig\.a",
    ),
    (conventions.stray_all, "def f(): ...", "missing"),
    (conventions.stray_all, "__all__ = ['f', 'g']\ndef f(): ...", "g, which is not here"),
    (conventions.stray_all, "__all__ = ['f']\ndef f(): ...\nclass G: ...", "forgets G"),
    (conventions.stray_all, "__all__ = ['f', 'f']\ndef f(): ...", "twice"),
    (conventions.prints, "def f():\n    print('x')", "line 2"),
    (conventions.foreign_errors, "class A(errors.InputError): ...", "A is an exception"),
    (conventions.foreign_errors, "class B(Exception): ...", "B is an exception"),
    (conventions.skipped_tests, "@pytest.mark.skipif(True, reason='x')\ndef test(): ...", "skipif"),
    (conventions.skipped_tests, "def test():\n    pytest.skip('no')", "pytest.skip"),
    (conventions.skipped_tests, "torch = pytest.importorskip('torch')", "importorskip"),
]

SOUND = '''
"""A module without fault."""
import contextlib
from x import late

__all__ = ["A", "LIMIT", "late", "read"]

LIMIT: int = 3


@dataclass(frozen=True, kw_only=True)
class _Config:
    x: int


class A:
    """Documented."""


def read() -> None:
    """Documented."""
    with contextlib.suppress(FileNotFoundError):
        raise ValueError
    try:
        read()
    except OSError:
        log.warning("no file")


def _private(): ...
'''


def names(rule: Rule) -> str:
    return rule.__name__


@pytest.mark.parametrize("rule", RULES, ids=names)
def test_every_file_keeps(rule: Rule) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {fault}"
        for path in python_files(*RULES[rule])
        if not str(path.relative_to(ROOT)).startswith(EXEMPT.get(rule, "\0"))
        for fault in rule(parsed(path))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("rule", "source", "fault"), BROKEN)
def test_a_breach_is_found(rule: Rule, source: str, fault: str) -> None:
    found = list(rule(ast.parse(source)))
    assert len(found) >= 1
    assert re.search(fault, "\n".join(found))


def test_every_rule_has_a_breach_and_lets_sound_code_pass() -> None:
    assert {rule for rule, _, _ in BROKEN} == set(RULES)
    tree = ast.parse(SOUND)
    assert {names(rule): list(rule(tree)) for rule in RULES} == {names(rule): [] for rule in RULES}


def long_files(paths: Iterable[Path]) -> list[str]:
    """Files with more lines than a reader holds in mind."""
    counts = ((path, len(path.read_text(encoding="utf-8").splitlines())) for path in paths)
    return [f"{path} has {lines} lines" for path, lines in counts if lines > conventions.MAX_FILE_LINES]


def test_files_stay_short(tmp_path: Path) -> None:
    assert not long_files(python_files())
    (tmp_path / "long.py").write_text("\n" * (conventions.MAX_FILE_LINES + 1))
    assert len(long_files([tmp_path / "long.py"])) == 1


def test_names_say_what_is_inside() -> None:
    assert not list(conventions.vague_names(part for path in python_files() for part in path.relative_to(ROOT).parts))
    assert len(list(conventions.vague_names(["moesaic", "utils", "helpers.py", "_common.py", "commonality.py"]))) == 3


def text_faults(paths: Iterable[Path]) -> Iterator[str]:
    """Forbidden words in files that are text."""
    for path in paths:
        try:
            text = path.read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            continue
        yield from (f"{path}: {fault}" for fault in conventions.forbidden_words(text))


def test_no_file_holds_open_tasks_or_names_of_one_workplace() -> None:
    assert not list(text_faults(project_files()))


@pytest.mark.parametrize(
    "parts",
    [
        ("# TO", "DO: later"),
        ("# FIX", "ME"),
        ("index-url = https://py", "pi.org/simple"),
        ("--extra-index-url https://download.py", "torch.org/whl/cpu"),
        ("cd /wo", "rk/main"),
        ("open('/ro", "ot/.cache')"),
        ("file:///op", "t/wheels/x.whl"),
        ("/ho", "me/someone/models"),
    ],
)
def test_forbidden_words_are_found(parts: tuple[str, str]) -> None:
    assert len(list(conventions.forbidden_words("fine\n" + "".join(parts)))) == 1


@pytest.mark.parametrize(
    "text", ["framework/home/x", "a/work/b", "mastodon", "$HOME/work/x", "~/home/x", "/usr/lib/x", "XXXL"]
)
def test_ordinary_words_pass(text: str) -> None:
    assert not list(conventions.forbidden_words(text))


def test_the_drawn_error_tree_is_the_real_one() -> None:
    classes = [value for _, value in inspect.getmembers(errors, inspect.isclass) if issubclass(value, Exception)]
    assert errors.__doc__ is not None
    assert conventions.tree_in_docstring(errors.__doc__) == conventions.error_tree(classes, errors.MoesaicError)
    assert {cls.__name__ for cls in classes} == set(errors.__all__)


def test_a_tree_that_lies_is_found() -> None:
    assert errors.__doc__ is not None
    truth = conventions.tree_in_docstring(errors.__doc__)
    assert truth["CanaryError"] == "ArtifactError"
    without_a_line = re.sub(r".*CanaryError .*\n", "", errors.__doc__)
    assert conventions.tree_in_docstring(without_a_line) == {k: v for k, v in truth.items() if k != "CanaryError"}
    one_level_up = errors.__doc__.replace("│   └── CanaryError", "├── CanaryError")
    assert conventions.tree_in_docstring(one_level_up)["CanaryError"] == "MoesaicError"
