"""Runs one program in a namespace of its own and finds its value.

The value is, in this order:
1. what `solution()` returns, where the program defines such a function (PAL's convention), or a variable of that name;
2. the variable `answer`, then the variable `result`;
3. the last statement, where it is an expression and the program's top level speaks of none of these names.
None otherwise. `sys.exit()` ends a program as if it had come to its end, with a status other than 0 it is an error.

What is returned is a claim of the program: it shares the process with this code and may have changed it.
"""

import builtins
import decimal
import linecache
import os
import random
import sys
from _ast import Expr, Expression, Module, PyCF_ONLY_AST  # all of `ast` would weigh on every fork
from types import CodeType, ModuleType

from moesaic.tools.sandbox.inside.json_value import TOO_LARGE, to_json_value
from moesaic.tools.sandbox.inside.refusals import PROGRAM, describe

__all__ = ["Outcome", "ProgramState", "run_program"]

_RECURSION_LIMIT = 1000
_STDERR = 2
_ANSWERS = ("answer", "result")
_NAMED = frozenset(("solution", *_ANSWERS))

Outcome = dict[str, object]
"""`{"outcome": "ok", "value": ...}`, `{"outcome": "error", "error": {...}}`, or `memory` or `result_limit` alone."""


def run_program(source: str, result_bytes: int) -> Outcome:
    """Run `source`; its output goes wherever `sys.stdout` and `sys.stderr` lead."""
    try:
        return _outcome(source, result_bytes)
    except MemoryError:
        return {"outcome": "memory"}
    except BaseException as error:  # describing the program's error failed in its own methods
        return {"outcome": "error", "error": {"type": type(error).__name__, "message": "", "traceback": ""}}


def _outcome(source: str, result_bytes: int) -> Outcome:
    try:
        value = _value(source)
        return {"outcome": "ok", "value": to_json_value(value, result_bytes)}
    except MemoryError:
        return {"outcome": "memory"}
    except OverflowError as error:
        return {"outcome": "result_limit"} if error.args == (TOO_LARGE,) else _failed(error)
    except BaseException as error:
        return _failed(error)


def _failed(error: BaseException) -> Outcome:
    return {"outcome": "error", "error": describe(error)}


def _value(source: str) -> object:
    linecache.cache[PROGRAM] = (len(source), None, source.splitlines(keepends=True), PROGRAM)
    body, last = _compiled(source)
    module = ModuleType("__main__")
    sys.modules["__main__"] = module
    namespace = module.__dict__
    namespace["__builtins__"] = builtins
    try:
        exec(body, namespace)
        if last is not None:
            return eval(last, namespace)
        solution = namespace.get("solution")
        if solution is not None:
            return solution() if callable(solution) else solution
    except SystemExit as ended:
        if ended.code not in (None, 0):
            raise
    return next((namespace[name] for name in _ANSWERS if name in namespace), None)


def _compiled(source: str) -> tuple[CodeType, CodeType | None]:
    """The program's code, and apart from it that of the last statement, where that is the program's value.

    Most programs name their value, and are spared the way through a syntax tree, which takes several times as long.
    """
    whole = compile(source, PROGRAM, "exec", dont_inherit=True)
    if not _NAMED.isdisjoint(whole.co_names):
        return whole, None
    tree = compile(source, PROGRAM, "exec", PyCF_ONLY_AST, dont_inherit=True)
    assert isinstance(tree, Module)
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, Expr):
        return whole, None

    tree.body.pop()
    expression = compile(Expression(last.value), PROGRAM, "eval", dont_inherit=True)
    return compile(tree, PROGRAM, "exec", dont_inherit=True), expression


class ProgramState:
    """What programs change for those who come after them, remembered as it was before the first one.

    It undoes what honest programs do (shadowed builtins, redirected streams, a raised recursion limit, a decimal
    context), so that the outcome can be sent and the next program of a batch finds what it expects. It is no wall:
    programs of one batch share a process, and belong to one request.
    """

    def __init__(self) -> None:
        self._streams, self._path = (sys.stdin, sys.stdout, sys.stderr), list(sys.path)
        self._builtins, self._context = dict(vars(builtins)), decimal.getcontext().copy()

    def settle(self) -> None:
        """After a program: nothing of it watches what follows, and what it printed is sent on."""
        sys.settrace(None)
        sys.setprofile(None)
        sys.setrecursionlimit(_RECURSION_LIMIT)
        for stream in (sys.stdout, sys.stderr, *self._streams[1:]):
            if stream is not None:
                _flush(stream)

    def restore(self) -> None:
        """Before another program: all is as it was. It writes to dozens of pages, which a last program is spared."""
        namespace = vars(builtins)
        namespace.update(self._builtins)
        for name in namespace.keys() - self._builtins.keys():
            del namespace[name]
        sys.stdin, sys.stdout, sys.stderr = self._streams
        sys.path[:] = self._path
        decimal.setcontext(self._context.copy())
        random.seed()  # which a program may have fixed


def _flush(stream: object) -> None:
    """Send on what a stream holds back; a program may have put anything in its place, or closed it."""
    try:
        stream.flush()  # type: ignore[attr-defined]
    except BaseException as error:
        lost = f"what was printed is lost: {type(error).__name__}\n"
        os.write(_STDERR, lost.encode("utf-8", "replace"))
