"""Answers with a text of 32 MiB.

Class: results
Must: contained
Status: result_limit, memory
"""


def solution():
    return "x" * (32 << 20)
