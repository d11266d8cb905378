"""Who may import whom, what stays unloaded, and that no file is loaded under two names.

The import contracts stand in pyproject.toml. That they can fail is shown on a small package that breaks each of them.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

from tests.repository import LINKS, ROOT, parsed, python_files

HEAVY = frozenset({"torch", "transformers", "vllm"})

LIGHT_STATEMENTS = [
    "import moesaic.client",
    "import moesaic.chains",
    "import moesaic.retrieval",
    "import moesaic.tools",
    "import moesaic.v1",
    "import moesaic.artifact",
    "import moesaic.errors",
    "import moesaic.server.engine.scripted_engine",
    "import sys; sys.argv = ['moesaic', '--help']; from moesaic.cli import main\ntry: main()\nexcept SystemExit: pass",
]

BREAKING_SOURCES = {
    "model/low.py": "import moesaic.cli",
    "training/sibling.py": "def late():\n    import moesaic.server",
    "server/admission.py": "import vllm",
    "cli/weights.py": "def late():\n    import torch",
    "unplaced.py": "",
}
"""Files that break one contract each, and the words by which the report must name them."""


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of the project in `folder`."""
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [str(program), "--no-logo", "--no-cache"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_import_contracts_hold() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", sorted(BREAKING_SOURCES))
def test_a_broken_contract_is_found(tmp_path: Path, name: str) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "layers")
    for part in ("", "server/engine", *(part.strip() for layer in layers for part in layer.split("|"))):
        (tmp_path / "moesaic" / part).mkdir(parents=True, exist_ok=True)
        (tmp_path / "moesaic" / part / "__init__.py").touch()
    # What the contracts allow: a type-only import upwards, and vLLM in the engine.
    (tmp_path / "moesaic/model/typed.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import moesaic.cli"
    )
    (tmp_path / "moesaic/server/engine/vllm_engine.py").write_text("import torch, vllm")
    sound = lint_imports(tmp_path)
    assert sound.returncode == 0, sound.stdout + sound.stderr

    (tmp_path / "moesaic" / name).write_text(BREAKING_SOURCES[name])
    broken = lint_imports(tmp_path)
    assert broken.returncode == 1
    assert "moesaic." + name.removesuffix(".py").replace("/", ".") in broken.stdout


def loaded_by(statement: str) -> set[str]:
    """Top-level names of the modules that a fresh interpreter has loaded after `statement`."""
    code = (
        f"{statement}\nimport json, sys\nprint(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("statement", LIGHT_STATEMENTS)
def test_the_light_parts_load_nothing_heavy(statement: str) -> None:
    loaded = loaded_by(statement)
    assert "moesaic" in loaded
    assert not loaded & HEAVY


def test_what_a_statement_loads_is_seen() -> None:
    assert {"numpy", "moesaic"} <= loaded_by("import moesaic.errors, numpy")


def outside_standard_library(tree: ast.Module) -> set[str]:
    """Top-level names that a module imports, at any depth, from neither the standard library nor moesaic."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names - sys.stdlib_module_names - {"moesaic"}


def test_artifacts_and_errors_need_the_standard_library_alone() -> None:
    modules = [ROOT / "moesaic/errors.py", *(ROOT / "moesaic/artifact").rglob("*.py")]
    assert len(modules) > 1
    assert {str(path) for path in modules if outside_standard_library(parsed(path))} == set()
    assert outside_standard_library(ast.parse("import json\ndef f():\n    from numpy.linalg import norm")) == {"numpy"}


def link_imports(tree: ast.Module) -> set[str]:
    """Top-level links that a module imports through."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names & set(LINKS)


def test_links_point_into_the_package() -> None:
    for link in LINKS:
        assert os.readlink(ROOT / link) == f"moesaic/{link}"
        assert (ROOT / link / "__init__.py").is_file()


def test_nothing_imports_through_the_links() -> None:
    assert {str(path) for path in python_files() if link_imports(parsed(path))} == set()
    assert link_imports(ast.parse("import server.engine\nfrom tools import x\nfrom moesaic.chains import y")) == {
        "server",
        "tools",
    }


def loaded_twice(modules: Mapping[str, ModuleType], folder: Path) -> dict[Path, list[str]]:
    """Files below `folder` that stand behind more than one module name, links resolved."""
    names = defaultdict(list)
    for name, module in modules.items():
        origin = getattr(module, "__file__", None)
        if origin and name != "__main__" and (file := Path(origin).resolve()).is_relative_to(folder):
            names[file].append(name)
    return {file: sorted(found) for file, found in names.items() if len(found) > 1}


def test_no_file_is_loaded_under_two_names() -> None:
    assert not loaded_twice(dict(sys.modules), ROOT / "moesaic")


def test_a_file_loaded_through_a_link_would_be_seen() -> None:
    code = (
        "import sys, tools, moesaic.tools\nfrom pathlib import Path\n"
        "from tests.test_architecture import loaded_twice\nfrom tests.repository import ROOT\n"
        "print(*loaded_twice(dict(sys.modules), ROOT / 'moesaic').values())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "['moesaic.tools', 'tools']"
