"""Takes over its own page faults, the usual help for races in the kernel.

Class: raw system calls
Must: contained
Status: ok, error, forbidden
Value: []
"""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)


def solution():

    outcomes = [libc.syscall(323, flags) for flags in (0, 1)]
    return [rank for rank, outcome in enumerate(outcomes) if outcome >= 0]
