"""Changes segment tables and port rights (modify_ldt, ioperm, iopl).

Class: raw system calls
Must: contained
Status: ok, error, forbidden
Value: []
"""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)


def solution():
    block = ctypes.create_string_buffer(256)
    outcomes = [libc.syscall(154, 1, block, 16), libc.syscall(173, 0, 8, 1), libc.syscall(172, 3)]
    return [rank for rank, outcome in enumerate(outcomes) if outcome >= 0]
