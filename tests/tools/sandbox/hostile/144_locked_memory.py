"""Locks memory, so that it cannot be swapped.

Class: limits
Must: contained
Status: ok, error, forbidden
Value: []
"""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)


def solution():
    block = ctypes.create_string_buffer(256)
    outcomes = [libc.mlockall(3), libc.mlock(block, 4096), libc.syscall(325, block, 4096, 0)]
    return [rank for rank, outcome in enumerate(outcomes) if outcome >= 0]
