"""Overwrites the small integers of the interpreter: one becomes two, for whoever comes next.

Class: leftover state
Must: plain
Status: ok, crashed, error, forbidden, no_result, timeout
Value: anything
Timeout: 2
Times: 2
"""

import ctypes


def solution():
    ctypes.memmove(id(7) + 24, id(8) + 24, 4)
    return 3 + 4
