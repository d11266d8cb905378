"""The side that programs share a process with loads the standard library and itself, nothing else of Moesaic."""

import ast
import json
import subprocess
import sys

from moesaic.tools.sandbox.inside import messages
from tests.repository import ROOT, parsed, python_files

INSIDE = "moesaic.tools.sandbox.inside"


def imported(tree: ast.Module) -> set[str]:
    """Every module that a source imports, at any depth."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def test_modules_of_the_inside_import_the_standard_library_and_each_other() -> None:
    files = [path for path in python_files("moesaic") if path.parent.name == "inside"]
    assert len(files) > 8
    for path in files:
        foreign = {
            name
            for name in imported(parsed(path))
            if name.partition(".")[0] not in sys.stdlib_module_names and not name.startswith(INSIDE)
        }
        assert not foreign, path


def test_the_sandbox_loads_neither_langchain_nor_packages() -> None:
    code = (
        "import json, sys\nfrom moesaic.tools.sandbox import Sandbox, SandboxConfig, probe\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(json.loads(done.stdout))
    assert "moesaic" in loaded
    assert not loaded & {"langchain_core", "numpy", "sympy", "torch", "pydantic", "pydantic_monty"}


def test_ready_and_failed_cannot_be_mixed_up() -> None:
    assert len({messages.READY, messages.FAILED}) == 2
    assert len(messages.READY) == len(messages.FAILED) == 1
