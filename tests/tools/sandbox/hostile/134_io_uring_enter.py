"""Uses and registers an io_uring of any inherited descriptor.

Class: raw system calls
Must: contained
Status: ok, error, forbidden
Value: []
"""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)


def solution():

    outcomes = [libc.syscall(number, fd, 0, 0, 0, 0, 0) for number in (426, 427) for fd in range(8)]
    return [rank for rank, outcome in enumerate(outcomes) if outcome >= 0]
