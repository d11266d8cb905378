"""The conventions that no linter knows, one function each: it takes a source and yields what is wrong with it.

What ruff checks already (order of `__all__`, docstrings of methods, naming, complexity) is left to ruff.
"""

import ast
import inspect
import re
from collections.abc import Iterable, Iterator

__all__ = [
    "MAX_FILE_LINES",
    "MAX_FUNCTION_LINES",
    "error_tree",
    "forbidden_statements",
    "forbidden_words",
    "foreign_errors",
    "long_functions",
    "loose_configurations",
    "prints",
    "skipped_tests",
    "stray_all",
    "tree_in_docstring",
    "undocumented",
    "vague_names",
]

MAX_FILE_LINES = 350
MAX_FUNCTION_LINES = 60

_CONFIGURATION_SUFFIXES = ("Config", "Options", "Parameters", "Settings")
_VAGUE_NAMES = frozenset({"common", "helper", "helpers", "misc", "util", "utils"})

# Each pattern is spelt so that it does not match its own source.
_FORBIDDEN_WORDS = {
    "open-task marker": re.compile(r"\b(?:TOD[O]|FIXM[E]|XX[X]|HAC[K])\b"),
    "registry host": re.compile(
        r"\b(?:pyp[i]\.(?:org|python)|pythonh[o]sted\.org|download\.pyt[o]rch\.org|registry\.npmj[s]|conda\.anac[o]nda\.org)"
    ),
    "machine path": re.compile(r"(?<![\w.$}~])/(?:wor[k]|root|home|opt/(?:pypi|wheels))/"),
}

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def long_functions(tree: ast.Module) -> Iterator[str]:
    """Functions of more than `MAX_FUNCTION_LINES` lines, decorators left out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MAX_FUNCTION_LINES:
                yield f"{node.name} has {lines} lines, more than {MAX_FUNCTION_LINES}"


def _public_definitions(tree: ast.Module) -> Iterator[_Definition]:
    for node in tree.body:
        if isinstance(node, _Definition) and not node.name.startswith("_"):
            yield node


def _bound_names(statements: Iterable[ast.stmt]) -> Iterator[str]:
    """Names that top-level statements bind, those inside of `if` and `try` included."""
    for node in statements:
        if isinstance(node, _Definition):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))
        elif isinstance(node, ast.If | ast.Try):
            yield from _bound_names([*node.body, *node.orelse, *getattr(node, "finalbody", [])])


def _declared_all(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return [str(name) for name in ast.literal_eval(node.value)]
    return None


def stray_all(tree: ast.Module) -> Iterator[str]:
    """What `__all__` names without cause, names twice, or forgets; a module that defines nothing public needs none."""
    public = {node.name for node in _public_definitions(tree)}
    declared = _declared_all(tree)
    if declared is None:
        if public:
            yield f"__all__ is missing (public here: {', '.join(sorted(public))})"
        return
    bound = set(_bound_names(tree.body))
    # A module with __getattr__ may bring names when they are asked for.
    if "__getattr__" not in bound:
        yield from (f"__all__ names {name}, which is not here" for name in declared if name not in bound)
    yield from (f"__all__ names {name} twice" for name in sorted(set(declared)) if declared.count(name) > 1)
    yield from (f"__all__ forgets {name}" for name in sorted(public - set(declared)))


def undocumented(tree: ast.Module) -> Iterator[str]:
    """The module, its public classes and functions, and the fields of configurations, where they have no docstring."""
    if not ast.get_docstring(tree):
        yield "the module has no docstring"
    for node in _public_definitions(tree):
        if not ast.get_docstring(node):
            yield f"{node.name} has no docstring"
        if isinstance(node, ast.ClassDef) and _is_configuration(node):
            yield from (f"{node.name}.{field} has no docstring below it" for field in _bare_fields(node))


def _is_configuration(node: ast.ClassDef) -> bool:
    return node.name.endswith(_CONFIGURATION_SUFFIXES) and _dataclass_decorator(node) is not None


def _bare_fields(node: ast.ClassDef) -> Iterator[str]:
    for statement, following in zip(node.body, [*node.body[1:], None], strict=True):
        if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
            continue
        explained = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        if not explained and not statement.target.id.startswith("_"):
            yield statement.target.id


def _dataclass_decorator(node: ast.ClassDef) -> ast.expr | None:
    return next((d for d in node.decorator_list if re.match(r"(dataclasses\.)?dataclass\b", ast.unparse(d))), None)


def loose_configurations(tree: ast.Module) -> Iterator[str]:
    """Configuration dataclasses that can be changed, or built by position."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and _is_configuration(node):
            decorator = ast.unparse(_dataclass_decorator(node) or node)
            yield from (
                f"{node.name} is not a dataclass with {wanted}"
                for wanted in ("frozen=True", "kw_only=True")
                if wanted not in decorator
            )


def prints(tree: ast.Module) -> Iterator[str]:
    """Calls of `print`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield f"line {node.lineno} prints"


def forbidden_statements(tree: ast.Module) -> Iterator[str]:
    """Errors that vanish, and promises instead of code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and all(_does_nothing(statement) for statement in node.body):
            yield f"line {node.lineno} swallows an error without a word: use contextlib.suppress with the narrow type"
        elif isinstance(node, ast.Call) and re.match(r"(contextlib\.)?suppress\((Base)?Exception\b", ast.unparse(node)):
            yield f"line {node.lineno} suppresses every error: name the type"
        elif isinstance(node, ast.Raise) and node.exc and ast.unparse(node.exc).startswith("NotImplementedError"):
            yield f"line {node.lineno} raises NotImplementedError"


def _does_nothing(statement: ast.stmt) -> bool:
    empty = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.Pass) or empty


def skipped_tests(tree: ast.Module) -> Iterator[str]:
    """Tests that decide not to run: a path that matters is run, or is not claimed."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and re.fullmatch(
            r"(pytest\.(mark\.)?|unittest\.)(skip\w*|importorskip)", ast.unparse(node)
        ):
            yield f"line {node.lineno} uses {ast.unparse(node)}"


def forbidden_words(text: str) -> Iterator[str]:
    """Open-task markers, and names that hold only in one workplace."""
    for number, line in enumerate(text.splitlines(), start=1):
        for kind, pattern in _FORBIDDEN_WORDS.items():
            if found := pattern.search(line):
                yield f"line {number} holds the {kind} {found[0]!r}"


def vague_names(parts: Iterable[str]) -> Iterator[str]:
    """Folders and files whose name says nothing about what is in them."""
    for part in parts:
        if part.removesuffix(".py").strip("_") in _VAGUE_NAMES:
            yield f"{part} is a drawer, not a noun"


def foreign_errors(tree: ast.Module) -> Iterator[str]:
    """Exception classes: they belong into moesaic/errors.py, in the one tree."""
    for node in ast.walk(tree):
        bases = [ast.unparse(base).rpartition(".")[2] for base in node.bases] if isinstance(node, ast.ClassDef) else []
        if isinstance(node, ast.ClassDef) and any(re.search(r"(Error|Exception)$", base) for base in bases):
            yield f"{node.name} is an exception outside of moesaic.errors"


def error_tree(classes: Iterable[type[Exception]], root: type[Exception]) -> dict[str, str]:
    """Name of each error class and of its parent in the tree below `root`; the root's parent is empty."""
    return {
        cls.__name__: "" if cls is root else next(b.__name__ for b in cls.__bases__ if issubclass(b, root))
        for cls in classes
    }


def tree_in_docstring(docstring: str) -> dict[str, str]:
    """Name and parent of each class in a tree drawn with box characters, four columns per level."""
    parents: dict[str, str] = {}
    above: list[str] = []
    for line in inspect.cleandoc(docstring).splitlines():
        pattern = r"(?P<indent>[ │]*[├└]── )(?P<name>\w+)" if parents else r"(?P<indent> *)(?P<name>\w+Error)\b"
        if drawn := re.match(pattern, line):
            if not parents:
                margin = len(drawn["indent"])
            del above[(len(drawn["indent"]) - margin) // 4 :]
            parents[drawn["name"]] = above[-1] if above else ""
            above.append(drawn["name"])
    return parents
