"""Raises errors of many megabytes, with ten thousand causes.

Class: results
Must: plain, bounded
Status: error, memory, timeout, crashed
Timeout: 5
"""


def solution():
    error = ValueError("x" * (16 << 20))
    for _ in range(10_000):
        following = ValueError("y" * 1000)
        following.__cause__ = error
        error = following
    raise ExceptionGroup("g" * (1 << 20), [error] * 1000)
