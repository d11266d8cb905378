"""Calls itself without end.

Class: recursion
Must: contained
Status: error
"""


def solution():
    return solution()
