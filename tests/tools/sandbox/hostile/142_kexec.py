"""Loads another kernel, with arguments that none has.

Class: raw system calls
Must: contained
Status: ok, error, forbidden
Value: []
"""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)


def solution():

    outcomes = [libc.syscall(number, -1, -1, 0, None, 0) for number in (246, 320)]
    return [rank for rank, outcome in enumerate(outcomes) if outcome >= 0]
