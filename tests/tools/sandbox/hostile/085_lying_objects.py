"""Answers with objects that lie about their class, their length and their text.

Class: results
Must: plain, bounded
Status: ok, error, timeout, memory, result_limit
Value: anything
Timeout: 2
"""

import itertools


class Endless(dict[str, int]):
    def items(self):
        return ((str(number), number) for number in itertools.count())

    def __iter__(self):
        return (str(number) for number in itertools.count())

    def __len__(self):
        return 1


class Text(str):
    def __str__(self):
        return "y" * (1 << 27)

    def __repr__(self):
        return self.__str__()


class Number(int):
    def __repr__(self):
        return '1, "status": "ok"'

    __str__ = __repr__


def solution():
    return [Number(3), Text("short"), Endless(a=1)]
