# mypy: ignore-errors
"""Has sympy work on a tower of powers and a factorisation that outlast everything.

Class: bombs
Must: bounded
Status: timeout, memory, error
Timeout: 2
"""

import sympy


def solution():
    x = sympy.Symbol("x")
    return str(sympy.expand((x + 1) ** 20_000 * (x + 2) ** 20_000))[:10] + str(sympy.factorint(2**1009 - 3**11))
