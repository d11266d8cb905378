"""Compares kernel objects of processes, and reads lists of locks (kcmp, get_robust_list).

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
        libc.syscall(312, int("@PID@"), int("@PARENT@"), 2, 0, 0),
        libc.syscall(274, int("@PID@"), block, block),
    ]
    return [rank for rank, outcome in enumerate(outcomes) if outcome >= 0]
