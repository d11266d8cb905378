"""Waits for input, in every way that Python has.

Class: stdin
Must: bounded
Status: ok, error
Value: []
"""

import os
import sys


def attempts():
    yield "input", lambda: input("your password: ")
    yield "readline", lambda: 1 / len(sys.stdin.readline())
    yield "read", lambda: 1 / len(sys.stdin.read())
    yield "descriptor", lambda: 1 / len(os.read(0, 100))


def solution():
    given = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        given.append(name)
    return given
