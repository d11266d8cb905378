"""Loads a program into the kernel, and makes a map for it.

Class: raw system calls
Must: contained
Status: ok, error, forbidden
Value: []
"""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)


def solution():
    block = ctypes.create_string_buffer(256)
    outcomes = [libc.syscall(321, command, block, 128) for command in (0, 5, 18)]
    return [rank for rank, outcome in enumerate(outcomes) if outcome >= 0]
