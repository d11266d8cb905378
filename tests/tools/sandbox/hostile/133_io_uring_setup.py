"""Sets up io_uring, which does what other calls are refused.

Class: raw system calls
Must: contained
Status: ok, error, forbidden
Value: []
"""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)


def solution():
    block = ctypes.create_string_buffer(256)
    outcomes = [libc.syscall(425, 8, block)]
    return [rank for rank, outcome in enumerate(outcomes) if outcome >= 0]
