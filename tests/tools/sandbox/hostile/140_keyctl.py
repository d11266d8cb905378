"""Joins and reads keyrings.

Class: keyrings
Must: contained
Status: ok, error, forbidden
Value: []
"""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)


def solution():
    block = ctypes.create_string_buffer(256)
    outcomes = [libc.syscall(250, operation, -3, block, 256, 0) for operation in (0, 1, 6, 11)]
    return [rank for rank, outcome in enumerate(outcomes) if outcome >= 0]
