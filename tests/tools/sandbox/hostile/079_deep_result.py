# mypy: ignore-errors
"""Answers with lists in lists, a hundred thousand deep.

Class: results
Must: plain
Status: error, result_limit, crashed, no_result, memory
Status in monty: error, result_limit, crashed, no_result, memory, timeout
"""


def solution():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    return deep
