"""Raises groups of errors in groups of errors, thousands deep.

Class: recursion
Must: plain, bounded
Status: error, crashed, timeout, memory
Timeout: 5
"""


def solution():
    error: Exception = ValueError("inside")
    for _ in range(5_000):
        error = ExceptionGroup("around", [error])
    raise error
