"""Changes its own confinement: further filters, further rules.

Class: raw system calls
Must: contained
Status: ok, error, forbidden
Value: []
"""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)


def solution():
    block = ctypes.create_string_buffer(256)
    outcomes = [libc.syscall(317, operation, 0, block) for operation in (1, 3)]
    return [rank for rank, outcome in enumerate(outcomes) if outcome >= 0]
