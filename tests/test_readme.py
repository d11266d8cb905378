"""The documents keep their promises: links lead somewhere, commands exist, the tree is the one on disk."""

import re
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from moesaic.cli import main
from tests import documents
from tests.repository import ROOT, project_files

DOCUMENTS = [path for path in project_files() if path.suffix == ".md" and path.relative_to(ROOT).parts[0] != "tests"]

GLOSSED = ("moesaic",)
"""Folders whose every subfolder the README's tree must name."""

Run = Callable[[list[str]], int]


def document_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def dead_links(text: str, path: Path) -> list[str]:
    """Relative links of a document at `path` that lead nowhere."""
    dead = []
    for link in documents.links(text):
        target = (path.parent / link.path).resolve() if link.path else path
        if not target.is_relative_to(ROOT) or not target.exists():
            dead.append(f"{link.path} is not there")
        elif link.anchor and link.anchor not in documents.headings(text if target == path else target.read_text()):
            dead.append(f"{link.path} has no heading #{link.anchor}")
    return dead


def missing_paths(text: str) -> list[str]:
    """Paths of the repository that the text mentions in vain."""
    return [path for path in documents.paths_in_code(text, ROOT) if not (ROOT / path).exists()]


def make_targets(makefile: str) -> set[str]:
    """Targets that a user may name."""
    return set(re.findall(r"^([a-z][\w-]*):(?!=)", makefile, re.MULTILINE))


def extras(pyproject: str) -> set[str]:
    """Names of the optional dependencies."""
    return set(tomllib.loads(pyproject)["project"]["optional-dependencies"])


def impossible_commands(text: str, run: Run) -> list[str]:
    """Commands of the shell blocks that call a target, a verb, an option, an extra or a module that does not exist."""
    targets = make_targets((ROOT / "Makefile").read_text())
    known_extras = extras((ROOT / "pyproject.toml").read_text())
    bad = []
    for program, *words in documents.commands(text):
        name = program.rpartition("/")[2]
        if name == "make":
            bad += [f"make {word}" for word in words if "=" not in word and word[0] != "-" and word not in targets]
        elif name == "moesaic" and run([*words, "--help"]) != 0:
            bad.append(" ".join([name, *words]))
        elif name.startswith("python") and words[:1] == ["-m"] and words[1].startswith(("moesaic", "benchmarks")):
            module = ROOT / words[1].replace(".", "/")
            if not module.with_suffix(".py").is_file() and not (module / "__main__.py").is_file():
                bad.append(f"python -m {words[1]}")
        wanted = set(",".join(re.findall(r"\.\[([\w,-]+)\]", " ".join(words))).split(",")) - {""}
        bad += [f"the extra {extra}" for extra in sorted(wanted - known_extras)]
    return bad


@pytest.fixture
def run_moesaic(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process and return its exit code. With `--help` it checks verbs and options, no more."""

    def run(words: list[str]) -> int:
        monkeypatch.setattr("sys.argv", ["moesaic", *words])
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0)
        finally:
            capsys.readouterr()
        return 0

    return run


@pytest.mark.parametrize("path", DOCUMENTS, ids=document_id)
def test_links_lead_somewhere(path: Path) -> None:
    assert not dead_links(path.read_text(encoding="utf-8"), path)


@pytest.mark.parametrize("path", DOCUMENTS, ids=document_id)
def test_paths_exist(path: Path) -> None:
    assert not missing_paths(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", DOCUMENTS, ids=document_id)
def test_commands_exist(path: Path, run_moesaic: Run) -> None:
    assert not impossible_commands(path.read_text(encoding="utf-8"), run_moesaic)


def test_readme_shows_commands() -> None:
    programs = {words[0].rpartition("/")[2] for words in documents.commands((ROOT / "README.md").read_text())}
    assert {"make", "moesaic"} <= programs


def test_every_page_of_the_docs_is_in_their_index() -> None:
    index = ROOT / "docs/README.md"
    linked = {(index.parent / link.path).resolve() for link in documents.links(index.read_text())}
    pages = {path for path in DOCUMENTS if path.is_relative_to(index.parent)} - {index}
    assert pages
    assert pages <= linked


def annotated_tree(readme: str) -> list[str]:
    """Paths of the README's tree: the block marked `text` that shows the package."""
    blocks = [block for block in documents.code_blocks(readme, "text") if re.search(r"^moesaic/", block, re.MULTILINE)]
    assert len(blocks) == 1, "README.md needs one fenced block marked text with the annotated tree (a line moesaic/ …)"
    return documents.tree_paths(blocks[0])


def unlisted(paths: Iterable[str]) -> set[str]:
    """Folders of the project that the tree should name and does not."""
    folders = {
        f"{folder}/{part.parts[1]}/"
        for folder in GLOSSED
        for part in (path.relative_to(ROOT) for path in project_files())
        if part.parts[0] == folder and len(part.parts) > 2
    }
    top = {f"{path.relative_to(ROOT).parts[0]}/" for path in project_files() if path.parent != ROOT}
    return (folders | {name for name in top if not name.startswith(".")}) - set(paths)


def test_the_annotated_tree_is_the_one_on_disk() -> None:
    paths = annotated_tree((ROOT / "README.md").read_text())
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert unlisted(paths) == set()


def test_dead_links_are_found() -> None:
    text = """# A title: *odd*
[a](LICENSE) [b](docs/nowhere.md) [c](#a-title-odd) [d](#gone) [e](../outside) [f](https://example.org)
"""
    assert dead_links(text, ROOT / "README.md") == [
        "docs/nowhere.md is not there",
        " has no heading #gone",
        "../outside is not there",
    ]


def test_missing_paths_are_found() -> None:
    text = "`moesaic/errors.py`, `moesaic/nothing.py`, `text/html`, `tests/`, `build/x`, `server/gone.py`, `a b/c`"
    assert missing_paths(text) == ["moesaic/nothing.py", "server/gone.py"]


def test_impossible_commands_are_found(run_moesaic: Run) -> None:
    text = """
```bash
make check nonsense VENV=x    # a comment with 'one quote
OMP_NUM_THREADS=1 .venv/bin/moesaic model upcycle BASE OUT --experts 4 && .venv/bin/moesaic frobnicate \\
    now
moesaic model upcycle --no-such-option 2 | head -3
python -m benchmarks.nothing; .venv/bin/pip install -e '.[cpu,nothing]'
```
```text
make this-is-no-command
```
"""
    assert impossible_commands(text, run_moesaic) == [
        "make nonsense",
        "moesaic frobnicate now",
        "moesaic model upcycle --no-such-option 2",
        "python -m benchmarks.nothing",
        "the extra nothing",
    ]


def test_a_tree_is_read_as_drawn() -> None:
    blanks = """
README.md LICENSE  two files
moesaic/          the package
  model/          the network
    config.py
  errors.py
tests/"""
    boxes = """
README.md LICENSE  two files
moesaic/
├── model/        the network
│   └── config.py
└── errors.py
tests/"""
    inside = ["moesaic/", "moesaic/model/", "moesaic/model/config.py", "moesaic/errors.py"]
    expected = ["README.md", "LICENSE", *inside, "tests/"]
    assert documents.tree_paths(blanks) == documents.tree_paths(boxes) == expected
    assert "moesaic/server/" in unlisted(expected)
    assert not {"tests/", "moesaic/model/"} & unlisted(expected)
