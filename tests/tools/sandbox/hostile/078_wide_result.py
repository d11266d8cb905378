"""Answers with a million small things.

Class: results
Must: contained
Status: result_limit, memory
"""


def solution():
    return {str(number): [number, None, 0.5] for number in range(300_000)}
