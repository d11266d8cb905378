"""Calls itself without end after it lifted the limit.

Class: recursion
Must: no-core, bounded
Status: error, crashed, memory, timeout
Timeout: 10
"""

import sys

sys.setrecursionlimit(10**9)


class Deep:
    def __getattr__(self, name):
        return getattr(self, name + "x"[:1])

    def __eq__(self, other):
        return bool(self == other)

    __hash__ = None  # type: ignore[assignment]


result = Deep() == Deep()
