"""Switches address randomisation off for what it runs next, or reads the execution domain.

Class: raw system calls
Must: contained
Status: ok, error, forbidden
Value: []
"""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)


def solution():

    outcomes = [libc.personality(value) for value in (0x0040000, 0x0400000)]
    return [rank for rank, outcome in enumerate(outcomes) if outcome >= 0]
