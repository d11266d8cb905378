# mypy: ignore-errors
"""Has sympy evaluate texts that are programs, and compile and draw what it was given.

Class: scientific packages
Must: no-host-file, no-process, no-secret
Status: ok, error, timeout, memory
Value: []
"""

import sympy
from sympy.parsing.sympy_parser import parse_expr


def attempts():
    yield "sympify", lambda: 1 / (sympy.sympify("__import__('os').system('true')") == 0)
    yield "parse", lambda: parse_expr("open('@FILE@').read()")
    yield "lambdify", lambda: sympy.lambdify([], "__import__('os').open('@FILE@', 0)")()
    yield "preview", lambda: sympy.preview(sympy.Symbol("x"), viewer="file", filename="@FOLDER@/@MARK@")


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
