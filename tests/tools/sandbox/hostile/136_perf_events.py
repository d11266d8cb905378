"""Counts and samples what the machine does (perf_event_open).

Class: raw system calls
Must: contained
Status: ok, error, forbidden
Value: []
"""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)


def solution():
    block = ctypes.create_string_buffer(256)
    outcomes = [libc.syscall(298, block, pid, -1, -1, 0) for pid in (0, -1, int("@PID@"))]
    return [rank for rank, outcome in enumerate(outcomes) if outcome >= 0]
