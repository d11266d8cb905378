"""Moves and binds memory among nodes, and uses pipes past the process (vmsplice, tee, splice).

Class: raw system calls
Must: contained
Status: ok, error, forbidden
Value: []
"""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)


def solution():
    block = ctypes.create_string_buffer(256)
    outcomes = [
        libc.syscall(278, 1, block, 0, 0),
        libc.syscall(276, 0, 1, 1, 0),
        libc.syscall(275, 0, None, 1, None, 1, 0),
        libc.syscall(279, 0, 1, None, None, None, 0),
        libc.syscall(237, None, 0, 0, None, 0, 0),
        libc.syscall(238, 0, None, 0),
    ]
    return [rank for rank, outcome in enumerate(outcomes) if outcome >= 0]
