"""Answers with things that never end or never answer: iterators, and an object whose text takes for ever.

Class: results
Must: bounded
Status: ok, error, timeout, memory, result_limit
Value: anything
Timeout: 2
"""

import itertools


class Slow:
    def __repr__(self):
        return str(sum(itertools.count()))

    __str__ = __repr__

    def __iter__(self):
        return itertools.count()


def solution():
    return [Slow(), itertools.count(), (number for number in itertools.count())]
