# mypy: ignore-errors
"""Walks up the frames of whoever runs it, and gives back every text that it finds in their variables.

Class: introspection
Must: no-secret
Status: ok, error, result_limit
Value: anything
"""

import sys


def solution():
    found = []
    frame = sys._getframe()
    while frame is not None:
        for scope in (frame.f_locals, frame.f_globals):
            found += [repr(value)[:80] for value in list(scope.values())[:60]]
        frame = frame.f_back
    return found[:400]
