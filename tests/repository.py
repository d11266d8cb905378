"""What stands in this repository: its root, its files and its parts, for the tests that read sources.

Files are those that git tracks or would track: a new file counts before it is added, an ignored one never.
"""

import ast
import functools
import subprocess
from pathlib import Path

__all__ = ["CODE_FOLDERS", "LINKS", "ROOT", "parsed", "project_files", "python_files"]

ROOT = Path(__file__).resolve().parent.parent

LINKS = ("server", "chains", "retrieval", "tools", "training")
"""Top-level symlinks: they show the five parts to people who open the repository, and nothing imports through them."""

CODE_FOLDERS = ("moesaic", "tests", "benchmarks", "examples")
"""Folders that may hold Python files."""


@functools.cache
def project_files() -> tuple[Path, ...]:
    """Every regular file of the project, in order, links and deleted files left out."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = (ROOT / name for name in sorted(set(listing.split("\0"))) if name)
    return tuple(path for path in paths if path.is_file() and not path.is_symlink())


def python_files(*folders: str) -> list[Path]:
    """Hand-written Python files below `folders` (all code folders when none is given)."""
    allowed = folders or CODE_FOLDERS
    return [
        path
        for path in project_files()
        if path.suffix == ".py"
        and path.relative_to(ROOT).parts[0] in allowed
        and not path.stem.endswith(("_pb2", "_pb2_grpc"))
    ]


@functools.cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a source file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
